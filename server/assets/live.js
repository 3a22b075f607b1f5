// Keeps ages ticking, counts what is ticked, and says when the live connection is lost. Every page is complete without it.
(() => {
  "use strict";
  const SILENT_MAX_MS = 40000; // The portal says something every 15 s; after this much silence the line is dead.
  const RETRY_MS = 5000; // A first connection that fails is not retried by the extension.
  const LOGGED_OUT = 401;
  const BACK_MS = 6000; // How long the banner says that the line is back.
  const BACK = "The live connection is back, and this page is up to date again.";
  const skew = Number(document.body.dataset.now) - Date.now();
  const source = document.getElementById("live");
  const state = document.getElementById("live-state");
  const banner = document.getElementById("live-lost");
  let connection = null;
  let heardAt = Date.now();

  const span = (seconds) => {
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} d`;
  };
  // For the scripts that run after this one.
  globalThis.octopus = { span, now: () => Date.now() + skew };
  const words = (time) => {
    const seconds = Math.trunc((Date.now() + skew - Date.parse(time.dateTime)) / 1000);
    if (time.dataset.ago === "for") return span(Math.max(0, seconds));
    if (time.dataset.ago === "until") return seconds < 0 ? `${span(-seconds)} left` : "overdue";
    if (time.dataset.ago === "about") return seconds < 0 ? `about ${span(-seconds)} left` : "almost done";
    return `${span(Math.max(0, seconds))} ago`;
  };
  const tick = () => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = words(time);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  const lostWords = banner?.textContent;
  const tell = (alive) => {
    if (!banner) return;
    if (!alive) {
      if (banner.textContent !== lostWords) banner.textContent = lostWords;
      banner.classList.remove("back");
      banner.hidden = false;
    } else if (!banner.hidden && !banner.classList.contains("back")) {
      banner.textContent = BACK;
      banner.classList.add("back");
      setTimeout(() => { banner.hidden = banner.classList.contains("back"); }, BACK_MS);
    }
  };
  const show = (alive) => {
    tell(alive);
    if (state) state.dataset.state = alive ? "live" : "lost";
  };
  const watch = () => {
    if (document.hidden || !source) return;
    if (connection && Date.now() - heardAt < SILENT_MAX_MS) return;
    show(false);
    if (connection) connection.reader?.cancel();
    else source.dispatchEvent(new Event("live:retry"));
    heardAt = Date.now();
  };

  // Says how many machines are ticked, and that they are meant.
  document.addEventListener("change", (event) => {
    if (!event.target.matches?.('input[form="selected"]')) return;
    const number = document.querySelectorAll('input[form="selected"]:checked').length;
    const picked = document.querySelector('#selected input[value="picked"]');
    if (!picked) return;
    picked.checked = true;
    picked.nextElementSibling.textContent = number === 1 ? "The ticked machine" : `The ${number} ticked machines`;
  });

  // One key leads to the search, unless it is typed into something.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, select, textarea, [contenteditable]")) return;
    const search = document.getElementById("search");
    if (!search) return;
    event.preventDefault();
    search.select();
    search.focus();
  });

  tick();
  setInterval(tick, 1000);
  setInterval(watch, RETRY_MS);
  document.addEventListener("mouseover", (event) => {
    const time = event.target.closest?.("time");
    if (time) time.title = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  });
  document.addEventListener("visibilitychange", () => { heardAt = Date.now(); });
  source?.addEventListener("htmx:sse:after:connection", (event) => {
    connection = event.detail.connection;
    heardAt = Date.now();
    show(true);
  });
  for (const name of ["htmx:sse:before:message", "beat"]) source?.addEventListener(name, () => { heardAt = Date.now(); });
  source?.addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === LOGGED_OUT) location.reload(); // It leads to the log-in page, and from there back here.
    else show(false);
  });
  source?.addEventListener("htmx:sse:close", () => { connection = null; show(false); });
})();
