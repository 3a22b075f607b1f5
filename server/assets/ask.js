// Shows a question over the page that asks it, and moves in the picture of a rollout by the arrow keys. Without it a question
// is a page of its own. It writes times as live.js does, which every page runs before it.
(() => {
  "use strict";
  const { octopus } = globalThis;
  let opener = null;

  const show = (question) => {
    const dialog = document.createElement("dialog");
    const box = document.importNode(question, true);
    const title = box.querySelector("h1");
    title.id = "question";
    dialog.className = "question";
    dialog.setAttribute("aria-labelledby", "question");
    dialog.append(box);
    for (const back of box.querySelectorAll("a.button")) {
      back.addEventListener("click", (event) => { event.preventDefault(); dialog.close(); });
    }
    // A press on what is around it says no.
    dialog.addEventListener("mousedown", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (opener?.isConnected) opener.focus();
    });
    document.body.append(dialog);
    dialog.showModal();
    (box.querySelector('input:not([type="hidden"])') ?? box.querySelector("button"))?.focus();
  };
  const ask = async (url) => {
    try {
      const answer = await fetch(url, { headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const question = page.querySelector("[data-question]");
      if (!question) throw new Error("no question");
      show(question);
    } catch {
      location.assign(url); // The page itself says what is wrong.
    }
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-ask]");
    if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    opener = link;
    ask(link.href);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-ask]")) return;
    event.preventDefault();
    opener = event.submitter;
    const action = opener?.hasAttribute("formaction") ? opener.formAction : event.target.action;
    const url = new URL(action, location.href);
    url.search = new URLSearchParams(new FormData(event.target, opener)).toString();
    ask(url.href);
  });

  // What a cell says of itself, with how long it has stood so.
  const tell = (event) => {
    const cell = event.target.closest?.(".cell");
    if (!cell) return;
    const now = Math.floor(octopus.now() / 1000);
    const parts = [`for ${octopus.span(Math.max(0, now - Number(cell.dataset.since)))}`];
    const left = Number(cell.dataset.until) - now;
    if (cell.dataset.until) parts.push(left > 0 ? `${octopus.span(left)} left` : "overdue");
    cell.dataset.tip = `${cell.getAttribute("aria-label")} (${parts.join(", ")})`;
  };
  // The next cell in the order, or the nearest one in the row above or below.
  const beside = (cells, cell, key) => {
    if (key === "ArrowRight") return cells[cells.indexOf(cell) + 1];
    if (key === "ArrowLeft") return cells[cells.indexOf(cell) - 1];
    const way = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (!way) return undefined;
    const place = (one) => one.getBoundingClientRect();
    const { x, y } = place(cell);
    const far = (one) => (place(one).y - y) * way;
    const rows = cells.filter((one) => far(one) > 1);
    const nearest = Math.min(...rows.map(far));
    const row = rows.filter((one) => far(one) < nearest + 1);
    return row.sort((a, b) => Math.abs(place(a).x - x) - Math.abs(place(b).x - x))[0];
  };
  document.addEventListener("mouseover", tell);
  document.addEventListener("focusin", tell);
  document.addEventListener("keydown", (event) => {
    const cell = event.target.closest?.(".cell");
    if (!cell) return;
    const cells = [...document.querySelectorAll(".waves .cell")];
    const next = beside(cells, cell, event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
})();
