/**
 * A tenant's part of connections against other tenants when there are not enough for all, by its plan: with weight 2 it is
 * served twice where another is served once. Whole numbers.
 */
const weights: Readonly<Record<string, number>> = { free: 1 }

/** The weight of a plan; 1 for one that is not listed. */
export const weightOfPlan = (plan: string): number => weights[plan] ?? 1
