import { chosenCards } from "./cards.js";
import { ubootSuite } from "./uboot-cases.js";

for (const card of chosenCards(({ uboot }) => uboot !== undefined)) ubootSuite(card);
