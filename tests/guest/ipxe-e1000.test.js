import { ipxeSuite } from "./ipxe-cases.js";

ipxeSuite({ model: "e1000", driver: "e1000", chip: /^82540em$/i });
