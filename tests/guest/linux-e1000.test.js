import { linuxSuite } from "./linux-cases.js";
import { depthCases } from "./linux-depth.js";

linuxSuite({ model: "e1000", driver: "e1000", speed: "1000" }, depthCases);
