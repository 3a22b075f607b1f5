// Follows a log as it grows, searches in it, and leaves lines out by how grave they are. Without it the log is whole.
(() => {
  "use strict";
  const tools = () => document.getElementById("log-tools");
  const log = () => document.getElementById("log");
  const GRAVE = { warning: ["warning", "error"], error: ["error"] };
  const AT_END_PX = 40; // So near to the end of the page counts as reading along.
  let isFollowing = false;
  if (!tools() || !log()) return;

  const passes = (line, text, level) => {
    const grave = GRAVE[level];
    if (grave && !grave.some((name) => line.classList.contains(name))) return false;
    return !text || line.textContent.toLowerCase().includes(text);
  };
  const show = () => {
    const text = document.getElementById("log-search").value.trim().toLowerCase();
    const level = document.getElementById("log-level").value;
    const lines = [...log().children];
    let found = 0;
    for (const line of lines) {
      const is = passes(line, text, level);
      found += is ? 1 : 0;
      line.hidden = !is;
    }
    const words = text || level ? `${found} of ${lines.length} lines` : "";
    const place = document.getElementById("log-found");
    if (place.textContent !== words) place.textContent = words;
    if (isFollowing) log().lastElementChild?.scrollIntoView({ block: "end" });
  };
  const begin = () => {
    tools().hidden = false;
    document.getElementById("log-follow").checked = isFollowing;
    new MutationObserver(show).observe(log(), { childList: true });
  };

  document.addEventListener("input", (event) => {
    if (event.target.id === "log-search" || event.target.id === "log-level") show();
    if (event.target.id === "log-follow") {
      isFollowing = event.target.checked;
      show();
    }
  });
  // Whoever scrolls up reads there: nothing moves under their eyes.
  addEventListener("wheel", (event) => {
    const end = document.documentElement.scrollHeight - innerHeight - scrollY;
    if (!isFollowing || event.deltaY >= 0 || end < -AT_END_PX) return;
    isFollowing = false;
    document.getElementById("log-follow").checked = false;
  }, { passive: true });
  begin();
})();
