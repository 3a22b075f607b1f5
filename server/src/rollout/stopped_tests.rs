//! Tests of the loop: rollouts of a space whose task queue is stopped.

use super::*;
use crate::model::{NewSpace, Space, TaskQueue};
use crate::spaces::{SpaceError, space_change};

#[tokio::test]
async fn a_stopped_queue_commands_no_machine_and_says_so_until_it_is_started_again() {
    let fixture = Fixture::new(3).await;
    let set = async |queue| {
        let wish = |old: &Space| {
            let (name, slug, description) = (old.name.clone(), None, String::new());
            Ok::<_, SpaceError>(NewSpace { name, slug, description, queue })
        };
        space_change(&fixture.test.app, SpaceId::DEFAULT, wish).await.unwrap();
    };
    set(TaskQueue::Stopped).await;
    let rollout = fixture.roll_out().await;
    let calls = Arc::new(Calls::new(fixture.test.app.clone()));
    for _ in 0..5 {
        turn(&fixture.test.app, &calls).await.unwrap();
    }
    let waiting = fixture.rollout(&rollout).await;
    assert_eq!(waiting.count(|kind| kind == PhaseKind::Waiting), 3, "{}", waiting.summary());
    assert_eq!(fixture.task_state(&rollout).await, TaskState::Queued);
    let mut conn = fixture.test.db.read().await.unwrap();
    let why = why(&fixture.test.app, &mut conn, &waiting).await.unwrap();
    drop(conn);
    assert!(why.values().all(|why| why.contains("the task queue of its space is stopped")), "{why:?}");
    assert!(fixture.fleet.machines().values().all(|machine| machine.orders.is_empty()));

    set(TaskQueue::Runs).await;
    let (_, stop) = fixture.start();
    let done = fixture.until(&rollout, |rollout| rollout.state.is_completed()).await;
    assert_eq!(done.count(|kind| kind == PhaseKind::Upgraded), 3, "{}", done.summary());
    stop.cancel();
}
