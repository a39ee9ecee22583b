import { linuxSuite } from "./linux-cases.js";

linuxSuite({ model: "e1000", driver: "e1000", speed: "1000" });
