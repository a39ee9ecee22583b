import { chosenCards } from "./cards.js";
import { linuxCases, linuxSuite } from "./linux-cases.js";
import { depthCases } from "./linux-depth.js";
import { restoreCases } from "./linux-restore.js";

for (const card of chosenCards()) linuxSuite(card, [...linuxCases, ...depthCases, ...restoreCases]);
