// Keeps the events of streams in memory, so that the servers on the TypeScript SDKs can resume them.
export class Events {
  #events = [];

  async storeEvent(streamId, message) {
    this.#events.push({ streamId, message });
    return String(this.#events.length);
  }

  async getStreamIdForEventId(eventId) {
    return this.#events[Number(eventId) - 1]?.streamId;
  }

  async replayEventsAfter(lastEventId, { send }) {
    const last = Number(lastEventId);
    const { streamId } = this.#events[last - 1];
    for (let number = last + 1; number <= this.#events.length; number++) {
      const event = this.#events[number - 1];
      if (event.streamId === streamId && Object.keys(event.message).length > 0)
        await send(String(number), event.message);
    }
    return streamId;
  }
}
