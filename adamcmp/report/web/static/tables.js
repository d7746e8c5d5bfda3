/* Tables: sorted by their heads, filtered, copied as CSV. */

/** Text for a cell of CSV that no spreadsheet takes for a formula. */
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csv(rows) {
  return `${rows.map((row) => row.map(csvCell).join(",")).join("\n")}\n`;
}

/** The number that text begins with, or nothing. */
function leading(text) {
  const match = /^[+-]?\d[\d,]*\.?\d*(e[+-]?\d+)?/i.exec(text.replace("−", "-").trim());
  return match ? Number(match[0].replaceAll(",", "")) : null;
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

/** Make a table of the page sortable, and give it tools. */
function enhance(table, texts) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const numeric = heads.map((_, k) => [...body.rows].some((row) => leading(row.cells[k]?.textContent ?? "") !== null));
  heads.forEach((head, k) => {
    const button = h("button", { type: "button" }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const text = row.cells[k].textContent;
        return numeric[k] ? leading(text) : text;
      };
      const rows = [...body.rows].sort((a, b) => compare(key(a), key(b)) * (down ? -1 : 1));
      body.append(...rows);
    });
  });
  for (const row of [...body.rows, table.tHead.rows[0]])
    [...row.cells].forEach((cell, k) => {
      if (!numeric[k]) cell.classList.add("text");
    });
  const tools = table.closest(".scroll")?.previousElementSibling;
  if (!tools?.matches(".table-tools")) return;
  if (body.rows.length > 2) {
    const find = h("input", {
      type: "search",
      size: 14,
      "aria-label": `Find in: ${table.caption.textContent}`,
      placeholder: "find",
    });
    find.addEventListener("input", () => {
      for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(find.value.toLowerCase());
    });
    tools.append(find);
  }
  const visible = () =>
    csv(
      [heads, ...[...body.rows].filter((row) => !row.hidden).map((row) => [...row.cells])].map((row) =>
        row.map((cell) => cell.textContent),
      ),
    );
  tools.append(copyButton("Copy as CSV", () => texts[table.dataset.csv] ?? visible(), "Table"));
}

/** The table of all cells of a task. */
class CellTable {
  constructor(article, task, cells) {
    Object.assign(this, { task, cells });
    this.form = article.querySelector("[data-filters]");
    this.place = article.querySelector("[data-cells]");
    this.count = this.form.querySelector("[data-count]");
    this.sorted = { key: "rank", down: false };
    this.most = 100;
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", () => {
      this.most = 100;
      this.draw();
    });
    const tool = copyButton("Copy as CSV", () => this.csv(), "Table");
    this.form.querySelector("[data-copy]").replaceWith(tool);
    this.draw();
  }

  get columns() {
    const { cells, arms, metrics } = this.task;
    const { metrics: which } = Object.fromEntries(new FormData(this.form));
    const of = (name) => (i) => cells[name][i];
    const wanted = metrics.filter((metric) => {
      if (which === "all") return true;
      if (which === "requested") return metric.requested;
      if (metric.requested) return false;
      if (which === "best") return metric.when === "best";
      return metric.when === "final" && (which === "loss" ? metric.measure === "loss" : metric.measure !== "loss");
    });
    return [
      { key: "arm", name: "optimizer", text: true, get: (i) => arms[cells.arm[i]].name },
      { key: "lr", name: "lr", get: (i) => cells.lrs.values[cells.lr[i]], show: (i) => cells.lrs.texts[cells.lr[i]] },
      {
        key: "decay",
        name: "λ",
        get: (i) => cells.decays.values[cells.decay[i]],
        show: (i) => cells.decays.texts[cells.decay[i]],
      },
      { key: "rank", name: "rank", get: of("rank") },
      ...wanted.map((metric) => ({
        key: metric.key,
        name: metric.name,
        unit: metric.unit,
        half: cells.halves[metric.key],
        get: (i) => cells.values[metric.key][i],
        show: (i) => formatted(cells.values[metric.key][i], metric.unit, cells.halves[metric.key][i]),
      })),
      { key: "n", name: "n", get: of("n") },
      { key: "diverged", name: "diverged", get: of("diverged") },
      { key: "failed", name: "failed", get: of("failed") },
    ];
  }

  /** The places of the cells that pass the filters, in order. */
  rows() {
    const { cells, arms } = this.task;
    const { arm, schedule, status, text } = Object.fromEntries(new FormData(this.form));
    const rows = cells.arm.flatMap((k, i) => {
      const of = arms[k];
      const ok =
        (!arm || of.name === arm) &&
        (!schedule || of.schedule === schedule) &&
        (!status || (status === "completed" ? cells.n[i] === cells.runs[i] : cells[status][i] > 0)) &&
        (!text || this.cells.name(i).toLowerCase().includes(text.toLowerCase()));
      return ok ? [i] : [];
    });
    const column = this.columns.find((candidate) => candidate.key === this.sorted.key) ?? this.columns[3];
    const keys = new Map(rows.map((i) => [i, column.get(i)]));
    return rows.sort(
      (a, b) =>
        compare(keys.get(a), keys.get(b)) * (this.sorted.down && keys.get(a) !== null && keys.get(b) !== null ? -1 : 1),
    );
  }

  csv() {
    const columns = this.columns.flatMap((column) => [
      column,
      ...(column.half
        ? [{ name: `${column.name}, half width of 95 %`, unit: column.unit, get: (i) => column.half[i] }]
        : []),
    ]);
    const head = columns.map((column) => (column.unit ? `${column.name} (${column.unit})` : column.name));
    return csv([head, ...this.rows().map((i) => columns.map((column) => column.get(i)))]);
  }

  draw() {
    const columns = this.columns;
    const rows = this.rows();
    const head = columns.map((column) => {
      const on = this.sorted.key === column.key;
      const sort = () => {
        this.sorted = { key: column.key, down: on && !this.sorted.down };
        this.draw();
        this.place.querySelector(`[data-key="${CSS.escape(column.key)}"] button`).focus();
      };
      const order = on ? (this.sorted.down ? "descending" : "ascending") : null;
      return h(
        "th",
        { scope: "col", "aria-sort": order, "data-key": column.key },
        h("button", { type: "button", onclick: sort }, column.name),
      );
    });
    const body = rows.slice(0, this.most).map((i) => {
      const pin = h(
        "button",
        {
          type: "button",
          onclick: () => this.cells.toggle(i),
          "aria-pressed": this.cells.pinned.has(i),
          "aria-label": `Curves of ${this.cells.name(i)}`,
        },
        "∿",
      );
      const row = columns.map((column, k) => {
        const text = String((column.show ?? column.get)(i) ?? "–");
        return k ? h("td", {}, text) : h("th", { scope: "row" }, text);
      });
      return h("tr", { "data-row": i, class: this.cells.pinned.has(i) ? "is-pinned" : null }, h("td", {}, pin), row);
    });
    const more = rows.length - body.length;
    const button =
      more > 0 ? h("button", { type: "button" }, `Show ${Math.min(more, 500).toLocaleString("en")} more`) : null;
    button?.addEventListener("click", () => {
      this.most += 500;
      this.draw();
    });
    const table = h(
      "table",
      { class: "data" },
      h("caption", {}, "Mean over seeds ± half width of the 95 % interval"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "curves"), head)),
      h("tbody", {}, body),
    );
    this.place.replaceChildren(...[table, button].filter(Boolean));
    this.count.textContent = `${rows.length.toLocaleString("en")} trials`;
  }

  /** Show which cells are chosen. */
  mark(pinned) {
    for (const row of this.place.querySelectorAll("tr[data-row]")) {
      const on = pinned.has(Number(row.dataset.row));
      row.classList.toggle("is-pinned", on);
      row.querySelector("button").setAttribute("aria-pressed", on);
    }
  }
}
