import { Failure, list, streamURL } from "./api";
import type { News, Stats, Summary } from "./api";

/** The list of exchanges, kept up to date. */
export class Store {
  /** By seq, the oldest first: new ones are cheap to add. */
  rows: Summary[] = [];
  filter = "";
  filterError = "";
  loading = true;
  error = "";
  online = true;
  stats: Stats | undefined;
  target = "";
  /** Grows when something is put before the newest, for who holds a scroll position. */
  added = 0;

  private listeners = new Set<() => void>();
  private stream: EventSource | undefined;
  private load: AbortController | undefined;
  private epoch = "";
  private retry = 0;
  private grace = 0;
  private pending = false;

  subscribe(f: () => void): () => void {
    this.listeners.add(f);
    return () => this.listeners.delete(f);
  }

  start(filter: string): void {
    this.filter = filter;
    this.stream?.close();
    this.load?.abort();
    clearTimeout(this.retry);
    this.epoch = "";
    this.loading = true;
    this.connect();
    this.changed();
  }

  stop(): void {
    this.stream?.close();
    this.stream = undefined;
    this.load?.abort();
    clearTimeout(this.retry);
    clearTimeout(this.grace);
    this.listeners.clear();
  }

  /** The place of an exchange in rows, or -1. */
  find(id: string): number {
    return this.rows.findIndex((r) => r.id === id);
  }

  private connect(): void {
    const s = new EventSource(streamURL(this.filter));
    this.stream = s;
    s.addEventListener("hello", (e) => {
      clearTimeout(this.grace);
      this.grace = 0;
      this.online = true;
      const epoch = e.lastEventId.split(":")[0] ?? "";
      this.take(JSON.parse(e.data as string) as News);
      if (epoch !== this.epoch) {
        this.epoch = epoch;
        void this.reload();
      }
      this.changed();
    });
    s.addEventListener("changes", (e) => {
      this.take(JSON.parse(e.data as string) as News);
      this.changed();
    });
    s.onerror = () => {
      if (this.stream !== s) return;
      if (s.readyState === EventSource.CLOSED) {
        // Refused: the list says why, of a wrong filter or of who is not signed in any more.
        void this.reload();
        this.retry = setTimeout(() => this.stream === s && this.connect(), 3000);
        return;
      }
      // A server ends each stream after some minutes: that is no news unless it stays away.
      const off = () => {
        if (this.stream !== s) return;
        this.online = this.loading = false;
        this.changed();
      };
      if (this.epoch === "") off();
      else this.grace ||= setTimeout(off, 5000);
    };
  }

  /** Gets the whole list, part by part. */
  private async reload(): Promise<void> {
    this.load?.abort();
    const stop = new AbortController();
    this.load = stop;
    try {
      let before = "";
      let first = true;
      do {
        const page = await list(this.filter, before, stop.signal);
        if (stop.signal.aborted) return;
        if (first) {
          this.rows = [];
          this.added++;
        }
        this.merge(page.items.map((i) => ({ ...i, match: true })));
        first = false;
        this.loading = false;
        this.error = this.filterError = "";
        before = page.next ?? "";
        this.changed();
      } while (before !== "");
    } catch (e) {
      if (stop.signal.aborted) return;
      this.loading = false;
      if (e instanceof Failure && e.code === "filter") {
        this.filterError = e.message;
        this.stream?.close();
        this.stream = undefined;
      } else if (e instanceof Failure && e.code === "offline") this.online = false;
      else this.error = e instanceof Error ? e.message : String(e);
      this.changed();
    }
  }

  private take(n: News): void {
    this.stats = n.stats;
    this.target = n.target ?? "";
    this.merge(n.items);
    let gone = 0;
    while (gone < this.rows.length && this.rows[gone]!.seq < n.oldest) gone++;
    if (gone > 0) this.rows.splice(0, gone);
  }

  private merge(items: (Summary & { match: boolean })[]): void {
    const fresh: Summary[] = [];
    let removed = false;
    for (const item of items) {
      const at = this.search(item.seq);
      if (this.rows[at]?.seq === item.seq) {
        if (item.match) this.rows[at] = item;
        else {
          this.rows.splice(at, 1);
          removed = true;
        }
      } else if (item.match) fresh.push(item);
    }
    if (fresh.length > 0) {
      const newest = this.rows.at(-1)?.seq ?? 0;
      this.rows.push(...fresh);
      if (fresh.some((f) => f.seq < newest) || fresh.length > 1) this.rows.sort((a, b) => a.seq - b.seq);
    }
    if (removed) this.added++;
  }

  /** The first place with at least this seq. */
  private search(seq: number): number {
    let lo = 0;
    let hi = this.rows.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (this.rows[mid]!.seq < seq) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }

  private changed(): void {
    if (this.pending) return;
    this.pending = true;
    // Not requestAnimationFrame: a page in the background gets none.
    setTimeout(() => {
      this.pending = false;
      for (const f of this.listeners) f();
    }, 16);
  }
}
