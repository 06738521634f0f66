/* The live trace: server-sent events read by fetch, so that a refusal tells its reason and nothing is watched again by itself. */
"use strict";

(() => {
  const SHOWN = 500;
  const form = document.getElementById("watch");
  const list = document.getElementById("packets");
  const note = document.getElementById("note");
  const pulse = document.getElementById("pulse");
  const stop = document.getElementById("stop");
  let watching = null;

  function say(tone, word) {
    pulse.className = `pulse ${tone}`;
    pulse.querySelector(".word").textContent = word;
  }

  function element(name, kind, text) {
    const made = document.createElement(name);
    made.className = kind;
    made.textContent = text;
    return made;
  }

  function drawn(packet) {
    const item = document.createElement("li");
    const refused = packet.code.endsWith("-Reject") || packet.code.endsWith("-NAK") || packet.code === "unreadable";
    item.className = refused ? "bad" : packet.direction;
    const line = element("div", "line", "");
    const at = new Date(packet.at);
    const time = element("time", "", `${headend.clock.format(at)}.${String(at.getMilliseconds()).padStart(3, "0")}`);
    time.dateTime = packet.at;
    time.dataset.local = "";
    const where = `${packet.direction === "in" ? "from" : "to"} ${packet.nas ?? "an unknown NAS"} (${packet.peer})`;
    const id = packet.identifier === null ? "" : ` ${packet.identifier}`;
    line.append(element("span", "code", `${packet.direction === "in" ? "→" : "←"} ${packet.code}${id}`), element("span", "peer", where), time);
    item.append(line);
    const why = [packet.result, packet.reason].filter(Boolean).join(": ");
    if (why) item.append(element("p", refused ? "why" : "why plain", why));
    if (packet.attributes.length) {
      const attributes = document.createElement("dl");
      for (const [name, value] of packet.attributes) {
        const pair = document.createElement("div");
        pair.append(element("dt", "", name), element("dd", "mono", value));
        attributes.append(pair);
      }
      item.append(attributes);
    }
    return item;
  }

  const take = {
    begin: ({ target }) => {
      say("good", `Watching ${target}`);
      note.textContent = "Nothing was seen yet.";
    },
    packet: (packet) => {
      list.prepend(drawn(packet));
      while (list.children.length > SHOWN) list.lastElementChild.remove();
      note.textContent = `${list.children.length} packets are shown, newest first.`;
    },
    end: ({ why, packets, lost }) => {
      say("waiting", "Ended");
      note.textContent = `Ended, for ${why}: ${packets} packets seen${lost ? `, ${lost} lost: they came faster than they were read` : ""}.`;
      watching = null;
    },
  };

  function event(block) {
    let name = "message";
    let data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (data && take[name]) take[name](JSON.parse(data));
  }

  async function watch() {
    watching?.abort();
    const mine = (watching = new AbortController());
    const asked = new URLSearchParams(new FormData(form));
    list.replaceChildren();
    stop.hidden = false;
    say("waiting", "Connecting");
    try {
      const response = await fetch(`/trace/stream?${asked}`, { signal: mine.signal, headers: { Accept: "text/event-stream" } });
      if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail ?? `the server answered ${response.status}`);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        blocks.forEach(event);
      }
      if (watching === mine) {
        say("bad", "Connection lost");
        watching = null;
      }
    } catch (error) {
      if (mine.signal.aborted) return;
      say("bad", "Not watching");
      note.textContent = error.message;
      watching = null;
    } finally {
      if (!watching) stop.hidden = true;
    }
  }

  form.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    history.replaceState(null, "", `/trace?${new URLSearchParams(new FormData(form))}`);
    watch();
  });
  stop.addEventListener("click", () => {
    watching?.abort();
    watching = null;
    stop.hidden = true;
    say("waiting", "Stopped");
  });
  if (document.getElementById("target").value) watch();
})();
