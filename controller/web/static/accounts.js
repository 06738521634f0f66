/* Fields for an account: customers are looked for while somebody types a name. Without it an id can be typed. */
"use strict";

for (const input of document.querySelectorAll("input[data-accounts]")) {
  let waiting = 0;
  let newest = 0;
  const look = async (text) => {
    const mine = (newest += 1);
    const answer = await fetch(`/customers/found?q=${encodeURIComponent(text)}`);
    if (!answer.ok || mine !== newest) return;
    const { found } = await answer.json();
    input.list.replaceChildren(...found.map(({ value, about }) => {
      const option = new Option(about, value);
      option.value = value;
      return option;
    }));
  };
  const typed = () => {
    clearTimeout(waiting);
    const text = input.value.trim();
    /* What was chosen ends in its id. */
    if (text.length >= 2 && !text.endsWith(")")) waiting = setTimeout(() => look(text).catch(() => input.list.replaceChildren()), 200);
  };
  input.addEventListener("input", typed);
  typed(); /* Somebody may have been faster than this script. */
}
