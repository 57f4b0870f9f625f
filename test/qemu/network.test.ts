import { describe, expect, test } from "vitest";
import { parseNetwork } from "../../src/qemu/network.js";

describe("a network", () => {
  test.each([
    ["none", { network: "none", hostForwards: [] }],
    ["user", { network: "user", hostForwards: [] }],
    ["user,hostfwd=tcp::8080-:80", { network: "user", hostForwards: ["tcp:127.0.0.1:8080-:80"] }],
    [
      "user,hostfwd=udp:localhost:1-10.0.2.15:2,hostfwd=tcp:127.0.0.2:3-:4",
      { network: "user", hostForwards: ["udp:127.0.0.1:1-10.0.2.15:2", "tcp:127.0.0.2:3-:4"] },
    ],
  ])("%s", (text, expected) => {
    expect(parseNetwork(text)).toEqual(expected);
  });

  test.each([
    ["tap", "unsupported", /network 'tap' cannot be replayed/],
    ["tap,ifname=tap0,script=/tmp/x", "unsupported", /network 'tap' cannot be replayed/],
    ["bridge,br=br0", "unsupported", /network 'bridge' cannot be replayed/],
    ["e1000", "unsupported", /card 'e1000' cannot be chosen/],
    ["nic,model=e1000e", "unsupported", /card 'e1000e' cannot be chosen/],
    ["user,model=rtl8139", "unsupported", /card 'rtl8139' cannot be chosen/],
    ["moon", "usage", /network 'moon' is not known/],
    ["", "usage", /network '' is not known/],
    ["none,x", "usage", /is not known/],
    ["user,smb=/", "usage", /option 'smb=\/' is not known/],
    ["user,hostfwd=tcp::80", "usage", /is no forwarding rule/],
    ["user,hostfwd=tcp::0-:80", "usage", /port 0 .* is not in 1\.\.65535/],
    ["user,hostfwd=tcp::80-:65536", "usage", /port 65536 .* is not in 1\.\.65535/],
    ["user,hostfwd=tcp:0.0.0.0:80-:80", "unsupported", /would listen beyond this host/],
    ["user,hostfwd=tcp:192.168.1.1:80-:80", "unsupported", /would listen beyond this host/],
    ["user,hostfwd=tcp::80-:80\n", "usage", /is no forwarding rule/],
  ])("%j is refused", (text, code, message) => {
    expect(() => parseNetwork(text)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});
