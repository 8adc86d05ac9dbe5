// The real command that makes, replaces and shows keys.
import { X509Certificate } from "node:crypto";
import { afterAll, describe, expect, it } from "vitest";
import { Workplace } from "./testing.ts";

const place = new Workplace();
afterAll(() => place.dispose());

interface Shown {
  readonly file: string;
  readonly name: string;
  readonly hosts: string[];
  readonly to: string;
  readonly fingerprint: string;
}

async function shown(folder: string): Promise<Shown[]> {
  const { code, stdout } = await place.run("keys", "show", folder, "--json");
  expect(code).toBe(0);
  return JSON.parse(stdout) as Shown[];
}

describe("flotilla keys", () => {
  it("makes, shows and rotates", async () => {
    const made = await place.run("keys", "make", "keys", "--hosts", "node1, 10.0.0.7", "--days", "20");
    expect(made).toMatchObject({ code: 0, stderr: "" });
    expect(made.stdout).toMatch(
      /│ worker\.pem +│ worker +│ \d{4}-\d\d-\d\d, in (19|20) days │ ([0-9A-F]{2}:){15}[0-9A-F]{2} │/,
    );
    expect(made.stdout).toMatch(/^hosts: localhost, 127\.0\.0\.1, ::1, .*node1, 10\.0\.0\.7$/m);
    const before = await shown("keys");
    expect(before.map(({ file }) => file)).toEqual(["ca.pem", "server.pem", "worker.pem"]);
    expect(before[0]!.fingerprint).toBe(new X509Certificate(place.read("keys/ca.pem")).fingerprint256);

    const rotated = await place.run("keys", "rotate", "keys");
    expect(rotated).toMatchObject({ code: 0, stderr: "" });
    const after = await shown("keys");
    expect(after.map(({ file }) => file)).toEqual(["ca.pem", "ca.pem", "server.pem", "worker.pem"]);
    expect(after[1]!.fingerprint).toBe(before[0]!.fingerprint);
    expect(after[2]!.hosts).toEqual(before[1]!.hosts);

    expect(await place.run("keys", "rotate", "keys", "--drop-old")).toMatchObject({ code: 0 });
    expect((await shown("keys")).map(({ file }) => file)).toEqual(["ca.pem", "server.pem", "worker.pem"]);
  });

  it("says what is wrong", async () => {
    place.write("file", "x");
    const [nothing, none, noHost, noDays, notAFolder] = await Promise.all([
      place.run("keys"),
      place.run("keys", "show", "nowhere"),
      place.run("keys", "make", "new", "--hosts", "a b"),
      place.run("keys", "make", "new", "--days", "0"),
      place.run("keys", "rotate", "file"),
    ]);
    expect(nothing).toMatchObject({ code: 2, stderr: expect.stringContaining("Commands:") });
    expect(none).toMatchObject({ code: 1, stderr: "error: nowhere: cannot be read: ENOENT\n" });
    expect(noHost).toMatchObject({ code: 1, stderr: expect.stringContaining('host "a b" is no name of a machine') });
    expect(noDays).toMatchObject({ code: 2, stderr: expect.stringContaining("from 1 to 3650") });
    expect(notAFolder).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("file/ca.key: cannot be read: ENOTDIR"),
    });
  });
});
