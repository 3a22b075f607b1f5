// Shows the buttons that copy a text of the page. Without it the text is there to be marked and copied by hand.
(() => {
  "use strict";
  const BACK_MS = 2000; // How long a button says that it copied.
  for (const button of document.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    if (!source) continue;
    const words = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent.trim());
        button.textContent = "Copied";
      } catch {
        // A browser gives the clipboard to HTTPS only: mark the text, so that one key copies it.
        getSelection().selectAllChildren(source);
        button.textContent = "Marked: press Ctrl+C";
      }
      setTimeout(() => { button.textContent = words; }, BACK_MS);
    });
  }
})();
