import { linuxSuite } from "./linux-cases.js";
import { depthCases } from "./linux-depth.js";
import { restoreCases } from "./linux-restore.js";

linuxSuite({ model: "e1000", driver: "e1000", speed: "1000" }, [...depthCases, ...restoreCases]);
