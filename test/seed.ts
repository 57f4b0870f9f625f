import fc from "fast-check";

/**
 * Property tests try the same cases in each run, so that a failure is due to the change that is tested. To try new
 * cases: `VMTAPE_SEED=$RANDOM npx vitest run --project fast`, or `npm run test:long`, which takes another seed each
 * time.
 */
export const randomSeed = Number(process.env.VMTAPE_SEED ?? 20260101);
fc.configureGlobal({ seed: randomSeed });
