//! What the statements of a script do with the machines and the portal: a part of the golden transcripts.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use octopus_proto::Ticket;
use serde_json::json;
use tower::ServiceExt as _;

use super::*;
use crate::model::Scope;
use crate::tentacle::{Target, Tentacles as _};

impl Stage {
    pub(super) async fn preview(&mut self, rest: &str) {
        let preview = match rollout_preview(&self.test.app, SpaceId::DEFAULT, &self.request(rest)).await {
            Ok(preview) => preview,
            Err(refused) => return self.say(&format!("refused: {refused}")),
        };
        let mut lines = Vec::new();
        for (at, (wave, span)) in preview.waves.iter().zip(&preview.course.waves).enumerate() {
            let members = preview.machines.iter().filter(|(of, ..)| *of == at).map(|(.., name)| name.as_str());
            let members = members.collect::<Vec<_>>().join(", ");
            let moment =
                |at: Option<Timestamp>| at.map_or_else(|| "?".to_owned(), |at| at.rfc3339()[11..19].to_owned());
            let (begins, ends) = (moment(span.begins), moment(span.ends));
            lines.push(format!("wave {} ({}), {begins} to {ends}: {members}", at + 1, wave.title));
        }
        let stays = preview.course.stays.iter().map(|stays| ("stays", stays));
        let busy = preview.busy.iter().map(|busy| ("is busy", busy));
        lines.extend(stays.chain(busy).map(|(what, of)| {
            let wave = of.wave.map(|wave| format!(" of wave {}", wave + 1)).unwrap_or_default();
            format!("{}{wave} {what} ({}): {}", of.name, of.code, of.why)
        }));
        let role = |role: &RoleLoss| {
            format!("at most {} of {} machines with the role {} at once", role.most, role.all, role.role)
        };
        lines.extend(preview.roles.iter().map(role));
        lines.push(match &preview.course.finish {
            Finish::Unknown => "over: unknown, for nothing was measured".to_owned(),
            Finish::At(at) => format!("over: {}", at.rfc3339()),
            Finish::After(at) => format!("over: after {}", at.rfc3339()),
            Finish::Stops(why) => format!("stops: {why}"),
        });
        lines.push(format!("{} would be upgraded to {}", preview.course.upgraded, preview.target));
        lines.iter().for_each(|line| self.say(&format!("| {line}")));
    }

    pub(super) async fn undo(&mut self, who: &str, why: &str) {
        let id = self.rollouts().await.last().unwrap().id;
        match rollout_undo(&self.test.app, SpaceId::DEFAULT, id, Who { name: who, why }).await {
            Ok(Undo::Made(_)) => {}
            Ok(Undo::Known(undo)) => self.say(&format!("{} undoes it already", undo.id)),
            Err(refused) => self.say(&format!("refused: {refused}")),
        }
        self.look().await;
    }

    pub(super) async fn change(&mut self, word: &str, name: &str, more: &str) {
        {
            let id = self.names[name];
            let mut machines = self.fleet.machines();
            let machine = machines.get_mut(&id).unwrap();
            let busy = || Refusal::new(RefusalKind::Busy, more);
            match word {
                "nature" => {
                    machine.nature = match more {
                        "crashes" => Nature::Crashes,
                        "vanishes" => Nature::Vanishes,
                        // Tentacle is killed before it arms
                        "killed" => Nature::KilledFirst,
                        _ => Nature::Good,
                    };
                }
                "offline" | "online" => machine.is_online = word == "online",
                "busy" => {
                    machine.refusal = Some(busy());
                    let ticket = uuid::Uuid::now_v7().to_string().parse().unwrap();
                    let work = RunningWork { ticket, description: more.to_owned(), since: 0 };
                    machine.status.running_work = vec![work];
                }
                "idle" => {
                    machine.refusal = None;
                    machine.status.running_work.clear();
                }
                // overtake web-1 3.0.0: another portal's order comes first
                "overtake" => machine.overtaken_by = Some(more.parse().unwrap()),
                "unwell" => machine.status.problems = vec![more.to_owned()],
                // full web-1 3000000: bytes that its disk has free
                "full" => machine.status.free_disk_bytes = more.parse().unwrap(),
                "platform" => machine.status.runtime = more.to_owned(),
                "generation" => machine.status.generation = more.parse().unwrap(),
                // copy web-1 web-1-copy: what the copy calls itself
                "copy" => machine.copy_to(more),
                // lose web-1 command: the next reply of that kind
                "lose" => {
                    let reply = match more {
                        "upload" => Reply::Upload,
                        "command" => Reply::Command,
                        "end" => Reply::End,
                        "confirm" => Reply::Confirm,
                        _ => panic!("no reply: {more}"),
                    };
                    machine.lost.insert(reply);
                }
                // gone web-1 1.0.0: from its disk
                "gone" => machine.status.installed.retain(|installed| installed.version.to_string() != more),
                _ => machine.status.problems.clear(),
            }
        }
        self.look().await;
    }

    pub(super) async fn hold(&mut self, word: &str, name: &str, more: &str) {
        let (name, why) = (self.names[name], more.split_once(' ').map_or(("alice", ""), |pair| pair));
        let who = Who { name: why.0, why: why.1 };
        let done = match word {
            "release" => machine_release(&self.test.app, SpaceId::DEFAULT, name, who).await,
            // hold-for 2h web-1 alice why
            "hold" => machine_hold(&self.test.app, SpaceId::DEFAULT, name, who, None).await,
            time => {
                let until = self.test.now().after(duration(time));
                machine_hold(&self.test.app, SpaceId::DEFAULT, name, who, Some(until)).await
            }
        };
        done.unwrap();
        self.look().await;
    }

    pub(super) async fn window(&mut self, environment: &str, more: &str) {
        let (minutes, cron) = more.split_once(' ').unwrap();
        let duration_minutes = minutes.parse().unwrap();
        // window Production 60 0 22 * * * Europe/Berlin
        let (cron, time_zone) = match cron.rsplit_once(' ') {
            Some((cron, zone)) if zone.contains('/') => (cron, zone),
            _ => (cron, "UTC"),
        };
        let spec = WindowSpec { cron: cron.to_owned(), duration_minutes, time_zone: time_zone.to_owned() };
        let mut tx = self.test.db.write().await.unwrap();
        windows_put(&mut tx, self.environments[environment], &[Window::read(&spec).unwrap()]).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Locks a machine against upgrades, or unlocks it, by the REST API and as Octopus's own clients do.
    pub(super) async fn lock(&mut self, name: &str, is_locked: bool) {
        let key = self.test.api_key(Scope::Full).await;
        let body = json!({"Endpoint": {"TentacleVersionDetails": {"UpgradeLocked": is_locked}}});
        let request = Request::put(format!("/api/machines/{}", self.names[name]));
        let request = request.header("X-Octopus-ApiKey", key).body(Body::from(body.to_string())).unwrap();
        let response = crate::routes::router(self.test.app.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let machine: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let details = &machine["Endpoint"]["TentacleVersionDetails"];
        self.say(&format!("| {status}: UpgradeLocked {}", details["UpgradeLocked"]));
        self.look().await;
    }

    /// Sends the n-th command of a machine to it once more: as it was, or under another ticket.
    pub(super) async fn send_again(&mut self, name: &str, number: usize, fresh: Option<Ticket>) {
        let (id, mut conn) = (self.names[name], self.test.db.read().await.unwrap());
        let machine = machine_get(&mut conn, SpaceId::DEFAULT, id).await.unwrap().unwrap();
        drop(conn);
        let mut order = self.fleet.machines()[&id].orders[number - 1].clone();
        order.ticket = fresh.unwrap_or(order.ticket);
        let answer = match self.fleet.upgrade(&Target::from(&machine), order).await {
            Ok(()) => "yes".to_owned(),
            Err(error) => error.to_string(),
        };
        let (runs, done) = {
            let machines = self.fleet.machines();
            (machines[&id].status.version.to_string(), machines[&id].orders.len())
        };
        self.say(&format!("| {name} answers: {answer}; it runs {runs} and was given {done} commands"));
        self.look().await;
    }

    /// All transfers together are limited to so many bytes in a second, for a package of so many.
    pub(super) async fn pace(&mut self, bytes_per_second: u64, size: u64) {
        let paced = Deadlines::default().paced(Some(bytes_per_second), size);
        let old = std::mem::replace(&mut self.test, App::for_tests().await);
        self.test = old.with(|inner| inner.rollout = paced);
        self.restart();
        let (at_once, seconds) = (paced.transfers.unwrap_or(0), paced.uploading.as_secs());
        self.say(&format!("| {at_once} at once, each in at most {seconds} s"));
    }
}
