/* Sends a bank file as it is, shows how far it is and what came of it. A report goes to its own address by what the file says it is. */
"use strict";

(() => {
  const form = document.getElementById("upload");
  const input = document.getElementById("file");
  const progress = document.getElementById("progress");
  const result = document.getElementById("result");
  const facts = document.getElementById("facts");
  const note = document.getElementById("file-note");
  const button = form.querySelector("button");

  function refuse(words) {
    note.textContent = words;
    note.closest(".field").classList.add("wrong");
    input.setAttribute("aria-invalid", "true");
  }

  function show(pairs) {
    facts.replaceChildren(...pairs.map(([label, content]) => {
      const pair = document.createElement("div");
      pair.append(Object.assign(document.createElement("dt"), { textContent: label }), Object.assign(document.createElement("dd"), { textContent: content }));
      return pair;
    }));
    result.hidden = false;
  }

  function told(answer) {
    if ("files" in answer) return answer.files.flatMap((file) => [["In the archive", file.name], ...(file.imported ? told(file.imported) : file.refused ? [["Refused", file.refused]] : told(file))]);
    if ("rejected" in answer) return [["Rejected by it", answer.rejected]];
    const pairs = [
      ["File", answer.kind], ["New", answer.is_new ? "yes" : "no: all of it was known"], ["Statements", answer.statements],
      ["Lines", answer.lines], ["Matched at once", answer.matched], ["To identify", Math.max(0, answer.lines - answer.matched)],
    ];
    return pairs.concat(answer.notes.map((text) => ["Look at this", text]));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = input.files[0];
    if (!file) return refuse("Choose a file first.");
    button.disabled = true;
    progress.hidden = false;
    note.closest(".field").classList.remove("wrong");
    const head = await file.slice(0, 4096).text();
    const packed = head.startsWith("PK\u0003\u0004");
    const name = encodeURIComponent(file.name.slice(0, 120));
    const path = packed ? `bank-archives?name=${name}` : head.includes("pain.002") ? "payment-status-reports" : `bank-files?name=${name}`;
    const request = new XMLHttpRequest();
    request.open("POST", `/api/v1/${path}`);
    request.setRequestHeader("Content-Type", packed ? "application/zip" : "application/xml");
    request.setRequestHeader("X-CSRF-Token", form.dataset.csrf);
    request.upload.addEventListener("progress", (at) => { if (at.lengthComputable) progress.value = Math.round((at.loaded / at.total) * 100); });
    request.addEventListener("loadend", () => {
      button.disabled = false;
      progress.hidden = true;
      let answer = null;
      try { answer = JSON.parse(request.responseText); } catch { answer = null; }
      if (request.status === 200 && answer) show(told(answer));
      else refuse(answer?.detail || "The file could not be sent; try again.");
    });
    request.send(file);
  });
})();
