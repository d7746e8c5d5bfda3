/* Trials of a task: the details of one; and the selected ones, with curves, command and code. */

/** The palette of Okabe and Ito, which color-blind readers can distinguish. */
const PINNED = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C7A00", "#000000"];
const ENDED = ["completed", "diverged", "failed", "ended early"];

class Cells {
  constructor(article, task, index) {
    Object.assign(this, { article, task, index });
    this.pinned = new Map();
    this.listeners = [];
    this.curves = null;
    this.chart = article.querySelector("[data-chart='curves']");
    this.form = article.querySelector("[data-curve-switches]");
    this.list = article.querySelector("[data-pins]");
    this.form.addEventListener("change", () => this.draw());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.querySelector("[data-unpin]").addEventListener("click", () => {
      for (const cell of [...this.pinned.keys()]) this.toggle(cell);
    });
  }

  /** Where a cell lies, in words. */
  name(cell) {
    const { cells, arms } = this.task;
    return `${arms[cells.arm[cell]].name}, lr ${cells.lrs.texts[cells.lr[cell]]}, λ ${cells.decays.texts[cells.decay[cell]]}`;
  }

  status(cell) {
    const { cells } = this.task;
    const parts = [];
    if (cells.diverged[cell]) parts.push(`${cells.diverged[cell]} of ${cells.runs[cell]} diverged`);
    if (cells.failed[cell]) parts.push(`${cells.failed[cell]} of ${cells.runs[cell]} failed`);
    return parts.join(", ") || "completed";
  }

  /** What a screen reader says of a cell. */
  label(cell, metric) {
    const { cells } = this.task;
    const value = formatted(cells.values[metric.key][cell], metric.unit, cells.halves[metric.key][cell]);
    const best = cells.rank[cell] === 1 ? ", best on validation" : "";
    const status = this.status(cell);
    return `${this.name(cell)}: ${metric.name} ${value}${best}${status === "completed" ? "" : `, ${status}`}`;
  }

  /** The details of a trial, as children of a tip or of a card. */
  details(cell) {
    const { cells, arms, metrics, fresh } = this.task;
    const arm = arms[cells.arm[cell]];
    const facts = [];
    const wide = (term, text) => facts.push(h("dt", {}, term), h("dd", { class: "wide" }, text));
    wide("lr", `${cells.lrs.texts[cells.lr[cell]]} (${arm.schedule})`);
    wide("λ", `${cells.decays.texts[cells.decay[cell]]} (${arm.decay})`);
    for (const [text, values] of Object.entries(cells.conventions)) if (values[cell] !== null) wide(text, values[cell]);
    wide("tuning seeds", `${cells.seeds[cell]} (n = ${cells.n[cell]} of ${cells.runs[cell]})`);
    const judged = fresh[cell];
    if (judged) wide("held-out seeds", `${judged.seeds} (n = ${judged.n})`);
    wide(
      "place",
      cells.rank[cell] === null
        ? "not eligible"
        : `${cells.rank[cell]} by validation${cells.edge[cell] ? `, at the boundary: ${cells.edge[cell]}` : ""}`,
    );
    if (cells.seconds[cell] !== null) wide("training time per run", `${brief(cells.seconds[cell])} s`);
    const rows = [];
    if (cells.n[cell]) {
      rows.push(h("dt", {}, ""), h("dd", {}, "last step"), h("dd", {}, "best evaluation"));
      const bare = (text, unit) => (unit && text.endsWith(unit) ? text.slice(0, -unit.length - 1) : text);
      const number = (metric, value, half) => h("dd", {}, bare(formatted(value, metric.unit, half), metric.unit));
      const value = (metric) => number(metric, cells.values[metric.key][cell], cells.halves[metric.key][cell]);
      const named = (metric, more = "") =>
        h("dt", {}, `${metric.name.replace("final ", "")}${more}${metric.unit ? ` (${metric.unit})` : ""}`);
      const of = (key) => metrics.find((metric) => metric.key === key);
      for (const metric of metrics) {
        if (metric.requested) rows.push(named(metric), value(metric), h("dd", {}, ""));
        else if (metric.when === "final")
          rows.push(named(metric), value(metric), value(of(metric.key.replace("final", "best"))));
      }
      if (judged) {
        const metric = of("final_test_error");
        rows.push(
          named(metric, ", held-out seeds"),
          number(metric, ...judged.values.final_test_error),
          h("dd", {}, ""),
        );
      }
    }
    const wrong = (cells.wrong[cell] ?? []).slice(0, 6).map((text) => h("p", { class: "wrong" }, text));
    return [h("strong", {}, arm.name), h("dl", { class: "facts" }, facts), ...wrong, h("dl", { class: "facts" }, rows)];
  }

  /** Choose a cell, or let it go. */
  async toggle(cell) {
    if (this.pinned.has(cell)) {
      this.pinned.get(cell).card?.remove();
      this.pinned.delete(cell);
      say(`${this.name(cell)} removed`);
    } else {
      const used = new Set([...this.pinned.values()].map((card) => card.colour));
      const colour = PINNED.find((candidate) => !used.has(candidate)) ?? PINNED[this.pinned.size % PINNED.length];
      const card = this.card(cell, colour);
      this.pinned.set(cell, { colour, card });
      this.list.append(card);
      say(`${this.name(cell)} selected; its learning curves are below`);
    }
    for (const listener of this.listeners) listener(this.pinned);
    await this.draw();
  }

  card(cell, colour) {
    const swatch = s(
      "svg",
      { width: 16, height: 16, "aria-hidden": "true" },
      s("circle", { cx: 8, cy: 8, r: 7, fill: colour }),
    );
    const away = h("button", { type: "button", "aria-label": `Remove ${this.name(cell)}` }, "✕");
    away.addEventListener("click", () => {
      this.toggle(cell);
      this.article.querySelector(`td[data-cell="${cell}"]`).focus({ preventScroll: true }); // the button is gone
    });
    const command = this.task.retrain[cell];
    const { recipes } = this.task;
    const code = h("pre", { class: "code", tabindex: "0", "aria-label": "Code" });
    const choice = h(
      "select",
      { "aria-label": "Framework" },
      Object.keys(recipes).map((name) => h("option", {}, name)),
    );
    const show = () => {
      code.textContent = this.recipe(cell, choice.value);
    };
    choice.addEventListener("change", show);
    show();
    return h(
      "section",
      { class: "pin", "aria-label": this.name(cell), "data-pin": cell },
      h(this.article.querySelector("h1") ? "h3" : "h4", {}, swatch, this.name(cell), away),
      ...this.details(cell).slice(1),
      h(
        "details",
        {},
        h("summary", {}, "Train it again"),
        command
          ? [h("pre", { class: "code command", tabindex: "0" }, command), copyButton("Copy", () => command, "Command")]
          : h("p", {}, "The command that trained these runs is unknown."),
      ),
      h(
        "details",
        {},
        h("summary", {}, "Use it in your own script"),
        h(
          "div",
          { class: "tools" },
          choice,
          copyButton("Copy", () => code.textContent, "Code"),
        ),
        code,
      ),
    );
  }

  /** The code of a trial in a framework: the text of its optimizer, with the lines that differ. */
  recipe(cell, framework) {
    const { texts, cells } = this.task.recipes[framework];
    const [base, changed] = cells[cell];
    const lines = texts[base].split("\n");
    for (const [i, line] of changed) lines[i] = line;
    return `${lines.join("\n")}\n`;
  }

  async draw() {
    if (!this.pinned.size) {
      lineChart(this.chart, { lines: [] });
      return;
    }
    this.curves ??= await unpack(`curves-${this.index}`);
    if (!this.curves) return;
    const { metric, stage, scale } = Object.fromEntries(new FormData(this.form));
    const about = this.curves.metrics.find((entry) => entry.key === metric);
    const lines = [];
    for (const [cell, { colour }] of this.pinned) {
      const runs = this.curves.runs.flatMap((run, i) =>
        run[0] === cell && (stage === "all" || run[2] > 0 === (stage === "fresh")) ? [i] : [],
      );
      const sums = new Map();
      for (const i of runs) {
        const [, seed, , ended, steps] = this.curves.runs[i];
        const [x, y] = [this.curves.steps[steps], this.curves.values[metric][i]];
        lines.push({ x, y, colour, thin: true, name: `seed ${seed}`, dash: ended ? "2 3" : "" });
        if (!ended)
          x.forEach((step, k) => {
            const sum = sums.get(step) ?? { total: 0, n: 0 };
            if (y[k] !== null) sums.set(step, { total: sum.total + y[k], n: sum.n + 1 });
          });
      }
      const most = Math.max(0, ...[...sums.values()].map((sum) => sum.n));
      const steps = [...sums.keys()].filter((step) => sums.get(step).n === most).sort((a, b) => a - b);
      lines.push({
        x: steps,
        y: steps.map((step) => sums.get(step).total / most),
        colour,
        name: `${this.name(cell)}, mean of ${most}`,
        shape: "o",
      });
    }
    const unit = about.unit ? ` (${about.unit})` : "";
    lineChart(this.chart, {
      lines: lines.filter((line) => line.x.length),
      x: { label: this.curves.time },
      y: { label: about.name + unit, unit: about.unit, log: scale === "log" },
    });
  }
}
