// This process's place among the workers of a job: joined through the coordinator, with the servers that it trains against.
import { Member, type World } from "../cluster/index.ts";
import { Servers } from "./servers.ts";
import { Workers } from "./workers.ts";

export interface Place {
  readonly rank: number;
  readonly worldSize: number;
  readonly workers: Workers;
  readonly servers: Servers | undefined;
  /** What the environment, or the caller, says of the job. */
  readonly world: World;
  leave(): Promise<void>;
}

const aloneWorld: World = { job: "", role: "worker", rank: 0, workers: 1, servers: 0, attempt: 0 };

/** A process that is the whole job. */
export const alone: Place = {
  rank: 0,
  worldSize: 1,
  workers: new Workers({ rank: 0, workers: 1 }),
  servers: undefined,
  world: aloneWorld,
  leave: async () => {},
};

/** How long servers may take to be there. */
const SERVERS_MS = 120_000;

/**
 * @param addresses of partitions, where they are not those of the job
 * @throws ClusterError when the coordinator or a server does not come
 */
export async function takePlace(world: World, addresses: readonly string[] | undefined): Promise<Place> {
  const { rank, workers, servers: count, keys } = world;
  const member = world.coordinator === undefined ? undefined : await Member.connect(world);
  await member?.join();
  const place = { rank, worldSize: workers, world, leave: async () => member?.leave() };
  const options = { rank, workers, member, ...(keys === undefined ? {} : { keys }) };
  if (count === 0 && addresses === undefined) return { ...place, workers: new Workers(options), servers: undefined };
  const members =
    addresses === undefined && member !== undefined
      ? await member.members("server", count, { timeoutMs: SERVERS_MS })
      : [];
  const servers = new Servers({ ...options, addresses: addresses ?? members.flatMap((server) => server.addresses) });
  return { ...place, workers: servers, servers };
}
