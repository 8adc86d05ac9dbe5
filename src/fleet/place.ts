// This process's place among the workers of a job: joined through the coordinator, with the servers that it trains against.
import { Member, type World } from "../cluster/index.ts";
import { Servers } from "./servers.ts";

export interface Place {
  readonly rank: number;
  readonly worldSize: number;
  readonly servers: Servers | undefined;
  leave(): Promise<void>;
}

/** A process that is the whole job. */
export const alone: Place = { rank: 0, worldSize: 1, servers: undefined, leave: async () => {} };

/** How long servers may take to be there. */
const SERVERS_MS = 120_000;

/**
 * @param addresses of partitions, where they are not those of the job
 * @throws ClusterError when the coordinator or a server does not come
 */
export async function takePlace(world: World, addresses: readonly string[] | undefined): Promise<Place> {
  const { rank, workers, servers: count, keys } = world;
  if (count === 0 && addresses === undefined) return { ...alone, rank, worldSize: workers };
  const common = { rank, workers, ...(keys === undefined ? {} : { keys }) };
  if (world.coordinator === undefined) {
    return { ...alone, rank, worldSize: workers, servers: new Servers({ ...common, addresses: addresses ?? [] }) };
  }
  const member = await Member.connect(world);
  await member.join();
  const members = addresses === undefined ? await member.members("server", count, { timeoutMs: SERVERS_MS }) : [];
  const all = addresses ?? members.flatMap((server) => server.addresses);
  return {
    ...{ rank, worldSize: workers, servers: new Servers({ ...common, addresses: all, member }) },
    leave: () => member.leave(),
  };
}
