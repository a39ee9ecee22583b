// What tshark thinks of the frames that came from the proxy: every checksum verified, nothing
// malformed. Whatever else it remarks (retransmissions, say) is the line's doing, not a fault.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const GATEWAY_MAC = "02:00:00:00:00:01";
const OUTPUT_MAX_BYTES = 64 << 20;
const PCAP_HEADER_BYTES = 24;
const SEVERITY_ERROR = String(0x800000);
const STATUS_BAD = "0"; // others: good, unverified, not present
const statuses = ["ip", "tcp", "udp", "icmp", "icmpv6"].map((name) => `${name}.checksum.status`);
// The transfers' own bytes are noise: nobody shall take them for HTTP.
const known = [
  ...["_ws.malformed", "_ws.short", "_ws.expert", "frame", "eth", "ethertype", "arp", "data"],
  ...["ip", "ipv6", "ipv6.fraghdr", "tcp", "udp", "icmp", "icmpv6", "dhcp", "dhcpv6", "dns"],
];
const verify = ["ip", "tcp", "udp"].flatMap((name) => ["-o", `${name}.check_checksum:TRUE`]);

export const whyNot =
  spawnSync("tshark", ["--version"]).status === 0 ? null : "tshark is not installed";

/** A configuration that knows these protocols only. @returns {string} its folder */
function configure() {
  const folder = mkdtempSync(join(tmpdir(), "aero-tshark-"));
  const { stdout } = tshark(["-G", "protocols"]);
  const names = stdout.split("\n").map((line) => line.split("\t")[2]);
  const others = names.filter((name) => name && !known.includes(name));
  writeFileSync(join(folder, "disabled_protos"), `${others.join("\n")}\n`);
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
let configuration;

function tshark(args, environment = {}) {
  const result = spawnSync("tshark", args, {
    encoding: "utf8",
    maxBuffer: OUTPUT_MAX_BYTES,
    env: { ...process.env, ...environment },
  });
  if (result.status !== 0) throw new Error(`tshark: ${result.stderr.slice(0, 500)}`);
  return result;
}

/** One file with the frames of all: a pcap is a header and records. */
function joinCaptures(files) {
  const merged = join(configuration, "merged.pcap");
  const parts = files.map((file) => readFileSync(file));
  const records = parts.map((part) => part.subarray(PCAP_HEADER_BYTES));
  writeFileSync(merged, Buffer.concat([parts[0].subarray(0, PCAP_HEADER_BYTES), ...records]));
  return merged;
}

/**
 * @param {string[]} files  captures of tunnel_peer
 * @returns {{ frames: number, faults: string[] }}  how many the proxy sent; a line for each bad one
 */
export function inspect(files) {
  configuration ??= configure();
  const fields = [...statuses, "_ws.malformed", "_ws.expert.severity", "_ws.expert.message"];
  const { stdout } = tshark(
    [
      ...["-n", "-r", joinCaptures(files), ...verify, "-Y", `eth.src == ${GATEWAY_MAC}`],
      ...["-T", "fields", "-e", "frame.number", ...fields.flatMap((field) => ["-e", field])],
    ],
    { WIRESHARK_CONFIG_DIR: configuration },
  );
  const frames = stdout.split("\n").filter(Boolean);
  const isBad = (line) => {
    const [, ...values] = line.split("\t");
    const severities = values[statuses.length + 1].split(",");
    return (
      values.slice(0, statuses.length).some((value) => value.split(",").includes(STATUS_BAD)) ||
      values[statuses.length] !== "" ||
      severities.includes(SEVERITY_ERROR)
    );
  };
  return { frames: frames.length, faults: frames.filter(isBad) };
}
