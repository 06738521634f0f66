/* On every page: instants in the viewer's zone, the token on htmx requests, and a question before what cannot be undone. */
"use strict";

const headend = {
  clock: new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }),
  /* Swedish writes 2026-11-20 18:05:12, which reads alike everywhere. */
  full: new Intl.DateTimeFormat("sv-SE", {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  }),
  day: new Intl.DateTimeFormat([], { day: "2-digit", month: "short" }),

  /* Today: the time. Another day: day and time. */
  short(at) {
    const today = new Date();
    return at.toDateString() === today.toDateString()
      ? this.clock.format(at)
      : `${this.day.format(at)} ${this.clock.format(at).slice(0, 5)}`;
  },

  instants(within) {
    for (const element of within.querySelectorAll("time[datetime]:not([data-local])")) {
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      element.title = element.textContent;
      element.textContent = this.full.format(at);
      element.dataset.local = "";
    }
  },
};

headend.instants(document);
document.querySelectorAll("nav [aria-current]").forEach((link) => link.scrollIntoView({ block: "nearest", inline: "center" }));
document.addEventListener("htmx:after:swap", () => headend.instants(document));
window.addEventListener("pageshow", () => document.querySelectorAll("form button[disabled]").forEach((button) => { button.disabled = false; }));
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
  if (event.defaultPrevented || event.target.method !== "post") return;
  /* Once is enough; after this turn, so that the pressed button's own value is sent. */
  setTimeout(() => event.target.querySelectorAll("button").forEach((button) => { button.disabled = true; }));
});
