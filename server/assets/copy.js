// Makes the buttons that copy a text of the page work, and has them shown. Without it the text is there to be marked and copied
// by hand. It listens at the whole page: a live change may bring other buttons.
(() => {
  "use strict";
  const BACK_MS = 2000; // How long a button says that it copied.
  document.documentElement.classList.add("copies");
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    const source = button && document.getElementById(button.dataset.copy);
    if (!source) return;
    button.dataset.words ??= button.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      button.textContent = "Copied";
    } catch {
      // A browser gives the clipboard to HTTPS only: mark the text, so that one key copies it.
      getSelection().selectAllChildren(source);
      button.textContent = "Marked: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = button.dataset.words; }, BACK_MS);
  });
})();
