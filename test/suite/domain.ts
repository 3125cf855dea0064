/**
 * Stands in for the part of tap that follows every promise and timer to find out whose test an error belongs to that nobody
 * waited for. Following them takes a tenth of the suite; where one test runs at a time it belongs to that one (`batch.ts`).
 */
export class Domain {
  destroy(): void {}
}
