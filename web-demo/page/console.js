/*
 * console.js - the guest's serial console: an xterm terminal, and what its text gives away.
 */
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";

const COLUMNS = 80; // a serial line has no size: the guest believes in 80
const FONT_PX = { min: 9, max: 15 };
const GLYPH_RATIO = 0.602; // width of a monospace glyph by its height, good enough to choose a size
const LINE_MAX = 400; // characters of the current line kept for matching

const THEME = {
  background: "#0b0f14",
  foreground: "#d7dee7",
  cursor: "#5ec8f2",
  selectionBackground: "#2b4a66",
  black: "#1b222c",
  red: "#ff7b72",
  green: "#6fd08c",
  yellow: "#e3b341",
  blue: "#79b8ff",
  magenta: "#d2a8ff",
  cyan: "#5ec8f2",
  white: "#d7dee7",
  brightBlack: "#7d8896",
};

/**
 * Events: "input" (detail: text typed), "line" (detail: one finished line), "prompt" (the guest
 * waits for a command), "leave" (the reader pressed Ctrl-] to get out of the terminal).
 */
export class GuestConsole extends EventTarget {
  #terminal;
  #fit = new FitAddon();
  #box;
  #decoder = new TextDecoder();
  #line = "";

  /** @param {HTMLElement} box */
  constructor(box) {
    super();
    this.#box = box;
    this.#terminal = new Terminal({
      theme: THEME,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--font-mono"),
      fontSize: 13,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      scrollback: 5000,
      screenReaderMode: false,
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.open(box);
    this.#terminal.textarea?.setAttribute("aria-label", "Serial console of the guest");
    this.#terminal.onData((text) => this.#say("input", text));
    // A terminal keeps Tab for the guest; Ctrl-], as in telnet, is the way out for the keyboard.
    this.#terminal.attachCustomKeyEventHandler((event) => {
      if (!event.ctrlKey || event.code !== "BracketRight") return true;
      event.preventDefault();
      if (event.type === "keydown") this.#say("leave");
      return false;
    });
    new ResizeObserver(() => this.#resize()).observe(box);
    this.#resize();
  }

  /** Shows what the guest wrote. */
  write(bytes) {
    this.#terminal.write(bytes);
    this.#watch(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Shows a line of the page's own, dimmed, so that nobody takes it for the guest's. */
  note(text) {
    this.#terminal.write(`\r\n\x1b[2m— ${text} —\x1b[0m\r\n`);
    this.#line = "";
  }

  focus() {
    this.#terminal.focus();
  }

  reset() {
    this.#terminal.reset();
    this.#line = "";
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Splits into lines, escape sequences removed; a prompt is a line that does not end. */
  #watch(text) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
    const clean = text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "");
    for (const character of clean) {
      if (character === "\n") {
        this.#say("line", this.#line);
        this.#line = "";
      } else if (character !== "\r" && this.#line.length < LINE_MAX) {
        this.#line += character;
      }
    }
    if (/[#$] $/.test(this.#line)) this.#say("prompt");
  }

  #resize() {
    const width = this.#box.clientWidth;
    if (width === 0) return;
    const wanted = Math.floor((width - 16) / (COLUMNS * GLYPH_RATIO));
    this.#terminal.options.fontSize = Math.min(FONT_PX.max, Math.max(FONT_PX.min, wanted));
    const room = this.#fit.proposeDimensions();
    if (!room?.cols || !room.rows) return;
    this.#terminal.resize(Math.min(COLUMNS, room.cols), room.rows);
  }
}
