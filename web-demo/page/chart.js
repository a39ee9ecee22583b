/*
 * chart.js - throughput of the last minute, down and up, in Mbit/s.
 */
import uPlot from "uplot";

const SPAN_S = 60;
const FLOOR_MBITS = 1; // an idle line lies flat at the bottom instead of showing its noise

export class ThroughputChart {
  #box;
  #plot = null;
  #samples = []; // [at_s, down, up] in Mbit/s, oldest first

  /** @param {HTMLElement} box  is filled; its size decides the chart's */
  constructor(box) {
    this.#box = box;
    this.#make();
    new ResizeObserver(() => this.#plot.setSize(this.#size())).observe(box);
    // Colours are the style sheet's; the plot has to be made again to take new ones.
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#make());
  }

  /** Adds a measurement: bits per second each way since the one before. */
  add(at_s, down, up) {
    this.#samples.push([at_s, down / 1e6, up / 1e6]);
    const oldest = at_s - SPAN_S - 1;
    while (this.#samples.length > 0 && this.#samples[0][0] < oldest) this.#samples.shift();
    if (!document.hidden) this.#draw();
  }

  /** The highest rates of the last minute, in bits per second. */
  get peaks() {
    const highest = (column) => Math.max(0, ...this.#samples.map((one) => one[column]));
    return { down: highest(1) * 1e6, up: highest(2) * 1e6 };
  }

  #size() {
    const style = getComputedStyle(this.#box);
    const inside = this.#box.clientWidth - parseFloat(style.paddingLeft) * 2;
    return { width: Math.max(160, inside), height: this.#box.clientHeight || 180 };
  }

  #make() {
    this.#plot?.destroy();
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
    const font = `11px ${colour("--font-ui")}`;
    const axis = { stroke: colour("--muted"), font, ticks: { show: false } };
    const grid = { stroke: colour("--grid"), width: 1 };
    const series = (label, name) => ({
      label,
      stroke: colour(`--${name}`),
      fill: colour(`--${name}-fill`),
      width: 2,
      points: { show: false },
    });
    const options = {
      ...this.#size(),
      padding: [8, 18, 0, 0],
      cursor: { show: false },
      legend: { show: false },
      scales: {
        x: { time: false, range: [-SPAN_S, 0] },
        y: { range: (_plot, _low, high) => [0, Math.max(FLOOR_MBITS, (high ?? 0) * 1.1)] },
      },
      axes: [
        {
          ...axis,
          size: 24,
          gap: 4,
          grid: { show: false },
          splits: [-60, -45, -30, -15, 0],
          values: (_plot, splits) => splits.map((at) => (at === 0 ? "now" : `${-at} s`)),
        },
        {
          ...axis,
          size: 40,
          gap: 4,
          grid,
          space: 34,
          values: (_plot, splits) => splits.map((rate) => String(Number(rate.toPrecision(3)))),
        },
      ],
      series: [{}, series("down", "down"), series("up", "up")],
    };
    this.#plot = new uPlot(options, [[], [], []], this.#box);
    this.#draw();
  }

  #draw() {
    const now = this.#samples.at(-1)?.[0] ?? 0;
    this.#plot.setData([
      this.#samples.map((one) => one[0] - now),
      this.#samples.map((one) => one[1]),
      this.#samples.map((one) => one[2]),
    ]);
  }
}
