// Where the emulator's memory is none that a wasm module can live in, a card's DMA goes through functions.
import { chosenCards } from "./cards.js";
import { linuxCases, linuxSuite } from "./linux-cases.js";

for (const card of chosenCards()) linuxSuite(card, linuxCases, { zeroCopy: false });
