//! suction-cup
