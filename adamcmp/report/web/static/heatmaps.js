/* Heatmaps of a task: a grid of trials for each optimizer, all on one color scale. */

/** Viridis at nine places: dark is good. */
const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];

/** Whether black is read better than white on a colour, by its relative luminance. */
function isLight(rgb) {
  const [r, g, b] = rgb.match(/\d+/g).map((part) => {
    const share = part / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179;
}

/** Rows beyond which they are lower; `report/web/report_page.py` reserves their place. */
const DENSE = 16;

class Heatmaps {
  constructor(article, task, cells) {
    this.task = task;
    this.cells = cells;
    this.form = article.querySelector("[data-switches]");
    this.scale = article.querySelector("[data-scale] svg");
    this.places = new Map();
    for (const panel of article.querySelectorAll(".panel")) this.build(panel, Number(panel.dataset.arm));
    this.form.addEventListener("change", () => this.colour());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.colour();
  }

  /** The metric that the switches name. */
  get metric() {
    const { part, measure, when } = Object.fromEntries(new FormData(this.form));
    if (measure.startsWith("requested_")) return this.task.metrics.find((metric) => metric.key === measure);
    const what = measure === "gap" ? "gap" : `${part}_${measure}`;
    return this.task.metrics.find((metric) => metric.key === `${when}_${what}`);
  }

  build(panel, arm) {
    const { cells } = this.task;
    const trials = cells.arm.flatMap((k, i) => (k === arm ? [i] : []));
    const sorted = (of) => [...new Set(trials.map((i) => of[i]))].sort((a, b) => a - b);
    const lrs = sorted(cells.lr).reverse();
    const decays = sorted(cells.decay);
    const at = new Map(trials.map((i) => [`${cells.lr[i]} ${cells.decay[i]}`, i]));
    const dense = lrs.length > DENSE;
    const rows = lrs.map((lr, k) =>
      h(
        "tr",
        { role: "row" },
        h("th", { scope: "row", role: "rowheader" }, dense && k % 2 ? "" : cells.lrs.ticks[lr]),
        decays.map((decay) => this.td(at.get(`${lr} ${decay}`))),
      ),
    );
    const every = decays.length > 12 ? Math.ceil(decays.length / 7) : 1;
    const foot = h(
      "tr",
      { role: "row" },
      h("th", { class: "corner axis", scope: "row", role: "rowheader" }, "lr ↑ λ →"),
      decays.map((decay, k) =>
        h("th", { scope: "col", role: "columnheader" }, k % every ? "" : cells.decays.ticks[decay]),
      ),
    );
    const name = `${this.task.arms[arm].name}: learning rates by weight decays`;
    const table = h(
      "table",
      { class: `heat${decays.length <= 9 ? " few" : ""}${dense ? " dense" : ""}`, role: "grid", "aria-label": name },
      h("tbody", { role: "rowgroup" }, rows),
      h("tfoot", { role: "rowgroup" }, foot),
    );
    table.addEventListener("keydown", (event) => this.move(event));
    table.addEventListener("pointerover", (event) => this.point(event));
    table.addEventListener("pointerleave", Tip.hide);
    table.addEventListener("focusin", (event) => this.focus(event.target));
    table.addEventListener("focusout", Tip.hide);
    table.addEventListener("click", (event) => this.choose(event.target.closest("td[data-cell]")));
    const first = table.querySelector("td[data-cell]");
    const best = trials.find((i) => cells.rank[i] === 1);
    const start = best === undefined ? first : this.places.get(best);
    start?.setAttribute("tabindex", "0");
    panel.querySelector(".space").replaceWith(table);
  }

  td(cell) {
    if (cell === undefined) return h("td", { class: "none", role: "gridcell", "aria-label": "not run" });
    const { cells } = this.task;
    const broken = cells.n[cell] === 0;
    const td = h("td", { role: "gridcell", tabindex: "-1", "data-cell": cell, class: broken ? "broken" : null });
    this.places.set(cell, td);
    return td;
  }

  marks(cell) {
    const { cells, circled } = this.task;
    const rank = cells.rank[cell];
    const best = rank === 1 ? `★${cells.edge[cell] ? "⚑" : ""}` : rank !== null && rank <= circled ? "○" : "";
    return best + (cells.diverged[cell] ? "✕" : "") + (cells.failed[cell] ? "!" : "");
  }

  colour() {
    const metric = this.metric;
    const { cells, limits } = this.task;
    const [dark, light, clipped] = limits[metric.key];
    const steps = VIRIDIS.map((_, i) => dark + ((light - dark) * i) / (VIRIDIS.length - 1));
    const ramp = d3.scaleLinear(steps, VIRIDIS).clamp(true);
    const least = metric.unit === "%" || metric.unit === "pp" ? 1 : 0;
    const decimals = Math.max(least, Math.min(4, 2 - Math.ceil(Math.log10(Math.abs(light - dark) || 1))));
    for (const [cell, td] of this.places) {
      const value = cells.values[metric.key][cell];
      if (value !== null) {
        td.style.background = ramp(value);
        td.style.color = isLight(ramp(value)) ? "#000" : "#fff";
      } else td.style.background = td.style.color = "";
      const number = value === null ? "" : commas(value.toFixed(Math.abs(value) >= 100 ? 0 : decimals));
      td.dataset.marks = this.marks(cell); // the style sheet draws them; screen readers read the label
      td.dataset.number = number;
      td.setAttribute("aria-label", this.cells.label(cell, metric));
    }
    this.legend(metric, ramp, dark, light, clipped);
  }

  legend(metric, ramp, dark, light, clipped) {
    this.scale.replaceChildren();
    for (let i = 0; i < 40; i += 1)
      this.scale.append(
        s("rect", { x: i * 5, width: 5.5, y: 0, height: 12, fill: ramp(dark + ((light - dark) * i) / 39) }),
      );
    const text = (x, anchor, label) =>
      s("text", { x, y: 28, "text-anchor": anchor, "font-size": 12, fill: "currentColor" }, label);
    const worse = clipped ? (metric.higher ? " and less" : " and more") : "";
    this.scale.append(
      text(0, "start", brief(dark, 4)),
      text(200, "end", `${brief(light, 4)}${metric.unit ? ` ${metric.unit}` : ""}${worse}`),
    );
    this.scale.parentElement.setAttribute("aria-label", `${metric.name}, from ${brief(dark)} to ${brief(light)}`);
  }

  move(event) {
    const td = event.target.closest("td[data-cell]");
    if (!td) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.choose(td);
      return;
    }
    if (event.key === "Escape") Tip.hide();
    const rows = [...td.closest("tbody").rows];
    const [row, column] = [rows.indexOf(td.parentElement), td.cellIndex];
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const last = td.parentElement.cells.length - 1;
    let target = null;
    if (event.key === "Home") target = rows[row].cells[1];
    else if (event.key === "End") target = rows[row].cells[last];
    else if (steps[event.key]) {
      const [down, right] = steps[event.key];
      let [r, c] = [row + down, column + right];
      while (rows[r]?.cells[c] && c > 0 && !rows[r].cells[c].dataset.cell) [r, c] = [r + down, c + right];
      target = c > 0 ? rows[r]?.cells[c] : null;
    } else return;
    event.preventDefault();
    if (target?.dataset.cell) target.focus();
  }

  focus(td) {
    if (!td.dataset.cell) return;
    const table = td.closest("table");
    table.querySelector("td[tabindex='0']")?.setAttribute("tabindex", "-1");
    td.setAttribute("tabindex", "0");
    td.setAttribute("aria-describedby", "tip");
    if (td.matches(":focus-visible")) {
      const box = td.getBoundingClientRect();
      Tip.show(this.cells.details(Number(td.dataset.cell)), box.right, box.bottom);
    }
  }

  point(event) {
    const td = event.target.closest("td[data-cell]");
    if (!td) return Tip.hide();
    return Tip.show(this.cells.details(Number(td.dataset.cell)), event.clientX, event.clientY);
  }

  choose(td) {
    if (!td) return;
    const cell = Number(td.dataset.cell);
    this.cells.toggle(cell);
  }

  /** Show which cells are chosen. */
  mark(pinned) {
    for (const [cell, td] of this.places) {
      td.classList.toggle("pinned", pinned.has(cell));
      td.setAttribute("aria-selected", pinned.has(cell));
    }
  }
}
