import { chosenCards } from "./cards.js";
import { ipxeSuite } from "./ipxe-cases.js";

for (const card of chosenCards(({ ipxe }) => ipxe !== undefined)) ipxeSuite(card);
