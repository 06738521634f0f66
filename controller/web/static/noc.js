/* Moves the NOC page: each snapshot of the stream sets the figures, tables and live charts. Shows what came, keeps nothing else. */
"use strict";

(() => {
  const LIVE_S = 300;
  const page = document.getElementById("noc");
  const pulse = document.getElementById("pulse");
  const note = document.getElementById("throughput-note");
  const SIGNS = { good: "●", bad: "▲", waiting: "◐", neutral: "○" };
  const TONES = {
    up: "good", ok: "good", completed: "good", active: "good", connected: "good",
    down: "bad", held: "bad", failed: "bad", disconnected: "bad",
    unknown: "waiting", inprogress: "waiting", acknowledged: "waiting", pending: "waiting", absent: "waiting",
  };
  let lastAt = 0;
  let range = "live";

  // Figures

  const units = { rate: charts.rate, each: charts.each, undefined: (value) => value.toLocaleString("en").replaceAll(",", "\u202f") };

  function figures(snapshot) {
    for (const element of page.querySelectorAll("[data-figure]")) {
      const value = snapshot[element.dataset.figure];
      const known = value !== null && value !== undefined;
      element.dataset.value = known ? value : "";
      const text = known ? units[element.dataset.unit](value) : "–";
      if (element.textContent !== text) element.textContent = text;
    }
    for (const tile of page.querySelectorAll("[data-alarm]")) tile.classList.toggle("alarm", snapshot[tile.dataset.alarm] > 0);
  }

  // Tables

  function cell(content, kind = "") {
    const element = document.createElement("td");
    element.className = kind;
    for (const part of Array.isArray(content) ? content : [content]) {
      if (part) element.append(part);
    }
    return element;
  }

  function span(text, kind) {
    const element = document.createElement("span");
    element.className = kind;
    element.textContent = text;
    return element;
  }

  function link(text, href) {
    const element = document.createElement("a");
    element.href = href;
    element.textContent = text;
    return element;
  }

  function state(word) {
    const tone = TONES[word.toLowerCase().replace(/[- ]/g, "")] ?? "neutral";
    const element = span("", `state ${tone}`);
    const sign = span(SIGNS[tone], "sign");
    sign.setAttribute("aria-hidden", "true");
    element.append(sign, word);
    return element;
  }

  function instant(text) {
    const element = document.createElement("time");
    if (!text) return span("–", "nothing");
    element.dateTime = text;
    element.textContent = headend.short(new Date(text));
    element.title = headend.full.format(new Date(text));
    element.dataset.local = "";
    return element;
  }

  const rest = (text) => cell(text, text ? "rest" : "rest blank");

  const rows = {
    devices: (d) => [
      cell([link(d.name, `/devices/${encodeURIComponent(d.device_id)}`), span(d.kind, "sub")], "main name"), cell(state(d.state)), rest(d.detail),
    ],
    components: (c) => [cell(c.href ? [link(c.name, c.href)] : c.name, "main name"), cell(state(c.state)), rest(c.detail)],
    orders: (o) => [
      cell(instant(o.at), "when"),
      cell([link(`${o.action} · ${o.customer}`, `/orders/${encodeURIComponent(o.order_id)}`)], "main"),
      cell(state(o.state)),
      rest(o.owner_team ? [`${o.cause} `, span(`for ${o.owner_team}`, "sub")] : o.cause),
    ],
    events: (e) => [cell(instant(e.at), "when"), cell(span(e.name, "mono"), "main"), rest(e.text)],
  };

  const shown = {};

  function tables(snapshot) {
    for (const table of page.querySelectorAll("table[data-table]")) {
      const name = table.dataset.table;
      const list = snapshot[name];
      const content = JSON.stringify(list);
      if (shown[name] === content) continue; // an unchanged table keeps its selection and focus
      shown[name] = content;
      table.tBodies[0].replaceChildren(...list.map((item) => {
        const row = document.createElement("tr");
        row.append(...rows[name](item));
        return row;
      }));
      table.hidden = list.length === 0;
      const empty = table.parentElement.querySelector(".empty");
      if (empty) empty.hidden = list.length > 0;
    }
  }

  // Charts

  const live = { at: [], downstream_bps: [], upstream_bps: [], access_accepts_per_s: [], access_rejects_per_s: [], accounting_records_per_s: [] };
  const drawable = typeof uPlot !== "undefined";
  const throughput = drawable && new charts.Chart(
    document.getElementById("chart-throughput"),
    [{ label: "Downstream", colour: "--down", fill: true }, { label: "Upstream", colour: "--up", dash: [7, 3] }],
    charts.rate,
    charts.axisRate,
  );
  const logins = drawable && new charts.Chart(
    document.getElementById("chart-logins"),
    [{ label: "Accepted", colour: "--good", fill: true }, { label: "Rejected", colour: "--bad", dash: [5, 3] }],
    charts.each,
    charts.axisEach,
  );
  const accounting = drawable && new charts.Chart(
    document.getElementById("chart-accounting"), [{ label: "Records", colour: "--third", fill: true }], charts.each, charts.axisEach,
  );

  function remember(snapshot) {
    const at = Date.parse(snapshot.at) / 1000;
    if (live.at.length && at <= live.at[live.at.length - 1]) return;
    live.at.push(at);
    for (const name of Object.keys(live)) if (name !== "at") live[name].push(snapshot[name]);
    while (live.at.length && live.at[0] < at - LIVE_S) for (const name of Object.keys(live)) live[name].shift();
  }

  function drawLive() {
    if (!drawable || !live.at.length) return;
    const until = live.at[live.at.length - 1];
    const from = until - LIVE_S;
    if (range === "live") throughput.show([live.at, live.downstream_bps, live.upstream_bps], from, until);
    logins.show([live.at, live.access_accepts_per_s, live.access_rejects_per_s], from, until);
    accounting.show([live.at, live.accounting_records_per_s], from, until);
  }

  async function drawPast() {
    if (!drawable || range === "live") return;
    const wanted = range;
    try {
      const response = await fetch(`/noc/throughput?range=${wanted}`, { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      const past = await response.json();
      if (wanted !== range) return;
      throughput.show([past.at, past.downstream_bps, past.upstream_bps], past.at[0] ?? 0, past.at[past.at.length - 1] ?? 1);
      note.textContent = past.downstream_bps.some((value) => value !== null) ? "" : "No measurements in this range.";
    } catch (error) {
      note.textContent = `The past could not be read: ${error.message}.`;
    }
  }

  for (const button of page.querySelectorAll("[data-range]")) {
    button.addEventListener("click", () => {
      range = button.dataset.range;
      note.textContent = "";
      for (const other of page.querySelectorAll("[data-range]")) other.setAttribute("aria-pressed", String(other === button));
      if (range === "live") drawLive(); else drawPast();
    });
  }
  setInterval(drawPast, 60_000);

  // Stream

  function say(tone, word) {
    pulse.className = `pulse ${tone}`;
    const place = pulse.querySelector(".word");
    if (place.textContent !== word) place.textContent = word;
  }

  function take(snapshot) {
    figures(snapshot);
    tables(snapshot);
    remember(snapshot);
    drawLive();
  }

  page.addEventListener("snapshot", (event) => {
    lastAt = Date.now();
    take(JSON.parse(event.detail.data));
    say("good", "Live");
  });
  page.addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === 401) window.location.reload();
    say("bad", "Connection lost, trying again");
  });
  const openedAt = Date.now();
  setInterval(() => {
    if (!document.hidden && Date.now() - (lastAt || openedAt) > 6_000) say("bad", "Standing still");
  }, 1_000);
  // The stream's own retries begin once it was open; before, and after a refusal, this opens it.
  setInterval(() => {
    if (!document.hidden && Date.now() - (lastAt || openedAt) > 6_000) page.dispatchEvent(new CustomEvent("reconnect"));
  }, 5_000);

  take(JSON.parse(document.getElementById("first-snapshot").textContent));
  fetch("/noc/recent", { headers: { Accept: "application/json" } })
    .then((response) => (response.ok ? response.json() : null))
    .then((recent) => {
      if (!recent || !recent.at.length) return;
      const newest = recent.at[recent.at.length - 1];
      const later = live.at.findIndex((at) => at > newest);
      for (const name of Object.keys(live)) live[name] = recent[name].concat(later < 0 ? [] : live[name].slice(later));
      drawLive();
    });
})();
