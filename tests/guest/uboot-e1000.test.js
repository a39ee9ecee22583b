import { ubootSuite } from "./uboot-cases.js";

ubootSuite({ model: "e1000", device: /^e1000#0$/ });
