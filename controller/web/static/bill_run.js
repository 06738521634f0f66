/* How far a bill run is: server-sent events; at its end the page is read anew. */
"use strict";

(() => {
  const card = document.getElementById("progress");
  const phases = JSON.parse(document.getElementById("phases").textContent);
  const source = new EventSource(card.dataset.stream);

  function left(seconds) {
    const whole = Math.round(seconds);
    return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
  }

  source.addEventListener("progress", (event) => {
    const run = JSON.parse(event.data);
    const { done, phase, accounts_per_s: speed, left_s: remaining } = run.progress;
    document.getElementById("bar").value = done;
    document.getElementById("share").textContent = `${Math.floor(done * 100)} %`;
    document.getElementById("phase").textContent = phases[phase] ?? phase;
    let text = run.waiting_for ? `Waits for ${run.waiting_for}.` : "\u00a0";
    if (speed) text = `${Math.round(speed)} accounts a second, about ${left(remaining)} left.`;
    document.getElementById("speed").textContent = text;
  });
  source.addEventListener("end", () => {
    source.close();
    location.reload();
  });
})();
