// What the whole page shares: data, making elements, the theme, sorting tables, choosing plots.

const data = JSON.parse(document.getElementById("data").textContent);

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function startTheme(button) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const now = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  const label = () => { button.textContent = now() === "dark" ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = now() === "dark" ? "light" : "dark";
    label();
  });
  dark.addEventListener("change", label);
  label();
  button.hidden = false;
}

function startContents(nav) {
  for (const section of document.querySelectorAll("main > section")) {
    nav.append(make("a", { href: `#${section.id}` }, section.querySelector("h2").textContent));
  }
  nav.hidden = false;
}

// Buttons in the heads of a table; the first press sorts upwards, the next one downwards. What has no value stays last.
function startSorting(table) {
  const body = table.tBodies[0];
  const key = (row, column) => {
    const value = row.cells[column].dataset.value;
    return value === undefined ? null : isNaN(value) ? value : Number(value);
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.ariaSort === "ascending" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.ariaSort = sign > 0 ? "ascending" : "descending";
      const order = (one, other) => {
        const [a, b] = [key(one, column), key(other, column)];
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (a < b ? -1 : a > b ? 1 : 0);
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}

// A table that is wider than its place says so, and where it ends.
function startScrolling(place) {
  const hint = place.previousElementSibling;
  const look = () => {
    const wide = place.scrollWidth > place.clientWidth + 1;
    hint.hidden = !wide;
    place.classList.toggle("wide", wide);
    place.classList.toggle("end", place.scrollLeft + place.clientWidth > place.scrollWidth - 2);
  };
  place.addEventListener("scroll", look, { passive: true });
  const observer = new ResizeObserver(look);
  for (const part of [place, place.firstElementChild]) observer.observe(part);
  look();
}

function startChoosing(select) {
  const views = select.closest(".views").querySelectorAll("[data-view]");
  const show = () => views.forEach((view) => { view.hidden = view.dataset.view !== select.value; });
  select.addEventListener("change", show);
  show();
}
