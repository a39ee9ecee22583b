// A transfer is repeated until it gets no faster: the engine compiles v86's code on threads of its own
// meanwhile. See README.md.
const STEADY = 3; // transfers in a row of which none is …
const FASTER = 1.05; // … that much faster than all before it
const ROUNDS_MIN = 6;
const ROUNDS_MAX = 15;

/**
 * The median of the last ones, by speed, and beside it the speed of the first and of each.
 * @template {{ mbitPerS: number }} Result
 * @param {() => Promise<Result>} transfer
 * @returns {Promise<Result & { firstMbitPerS: number, eachMbitPerS: number[] }>}
 */
export async function steady(transfer) {
  const results = [];
  let best = 0;
  let calm = 0; // transfers in a row that were not faster
  while ((calm < STEADY || results.length < ROUNDS_MIN) && results.length < ROUNDS_MAX) {
    const result = await transfer();
    results.push(result);
    calm = result.mbitPerS > best * FASTER ? 0 : calm + 1;
    best = Math.max(best, result.mbitPerS);
  }
  const bySpeed = results.slice(-STEADY).sort((a, b) => a.mbitPerS - b.mbitPerS);
  return {
    ...bySpeed[bySpeed.length >> 1],
    firstMbitPerS: results[0].mbitPerS,
    eachMbitPerS: results.map(({ mbitPerS }) => mbitPerS),
  };
}
