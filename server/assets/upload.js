// Uploads a package with progress, and takes one that is dropped. Without it the form uploads by itself.
(() => {
  "use strict";
  const form = document.getElementById("upload");
  const file = document.getElementById("file");
  const state = form?.querySelector(".upload-state");
  const bar = document.getElementById("upload-bar");
  const words = document.getElementById("upload-words");
  if (!form || !file || !state || !bar || !words) return;
  const button = form.querySelector("button");
  const size = (bytes) => bytes < 1048576 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 1048576).toFixed(1)} MiB`;
  form.querySelector(".drop-hint").hidden = false;

  const failed = (sentence) => {
    words.textContent = sentence;
    words.className = "small failed";
    button.disabled = false;
  };
  const send = () => {
    const chosen = file.files[0];
    if (!chosen) return;
    const data = new FormData(form);
    const request = new XMLHttpRequest();
    state.hidden = false;
    button.disabled = true;
    words.className = "small";
    words.textContent = `Uploading ${chosen.name}`;
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable) return;
      bar.value = 100 * event.loaded / event.total;
      const end = event.loaded === event.total ? ", now it is checked" : "";
      words.textContent = `${chosen.name}: ${size(event.loaded)} of ${size(event.total)}${end}`;
    });
    request.addEventListener("load", () => {
      if (request.status < 400) {
        location.assign("/packages");
        return;
      }
      const answer = new DOMParser().parseFromString(request.responseText, "text/html");
      const notice = answer.querySelector('[role="alert"]') ?? answer.querySelector("main p");
      failed(notice ? notice.textContent.trim() : `The portal refused the upload (${request.status}).`);
    });
    request.addEventListener("error", () => failed("The connection broke off, and nothing was kept. Upload it again."));
    request.open("POST", form.action);
    request.send(data);
  };

  form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
  for (const name of ["dragenter", "dragover"]) {
    form.addEventListener(name, (event) => { event.preventDefault(); form.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) form.addEventListener(name, () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length !== 1) {
      state.hidden = false;
      failed("Drop one package at a time.");
      return;
    }
    file.files = event.dataTransfer.files;
    send();
  });
})();
