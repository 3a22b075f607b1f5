//! The pages as a browser without scripts meets them: the router in process, HTML read with selectors.

mod browser;
mod pages;
mod seed;
mod stream;
