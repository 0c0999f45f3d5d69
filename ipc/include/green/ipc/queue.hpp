#pragma once
// Named queues of Cap'n Proto messages.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <capnp/message.h>
#include <capnp/schema.h>

#include <green/errors.hpp>
#include <green/ipc/message.hpp>
#include <green/ipc/named_queue.hpp>

namespace green::ipc {

/// Builds a message whose first segment is the queue's own memory. What outgrows it goes to private
/// memory, and is brought back in one piece by put().
class DraftBuilder final : public capnp::MessageBuilder {
 public:
    explicit DraftBuilder(RawDraft draft) noexcept;
    ~DraftBuilder() noexcept(false) override;
    kj::ArrayPtr<capnp::word> allocateSegment(capnp::uint minimum_words) override;
    /// Switches only when the message has outgrown its place. Throws UsageError above max_message.
    bool put(Deadline deadline, const MessageId* id = nullptr);

 private:
    void publish(std::size_t words, const MessageId* id);

    RawDraft draft_;
    std::vector<kj::Array<capnp::word>> overflow_;
    bool first_ = true;
};

/// A message that is being built; dropping it without put() leaves no trace in the queue.
template <class T>
class Draft {
 public:
    explicit Draft(RawDraft draft)
        : builder_{std::make_unique<DraftBuilder>(std::move(draft))},
          root_{builder_->initRoot<T>()} {}
    typename T::Builder* operator->() noexcept { return &root_; }
    typename T::Builder& operator*() noexcept { return root_; }

    /// Publishes it. Switches only when it has outgrown the size that prepare() was told, and the
    /// queue is full. Returns false once `deadline` has passed; it is dropped then. Throws
    /// UsageError above the queue's max_message.
    bool put(Deadline deadline = Deadline::never()) {
        const std::unique_ptr<DraftBuilder> builder = std::move(builder_);
        if (!builder) throw UsageError("this message was put already");
        return builder->put(deadline);
    }
    /// The same, unless a message with this id was put within the queue's dedup window: then this
    /// one is dropped. Returns true when one with the id has been put. Throws QueueFull when the
    /// queue is full and drops what is new.
    bool put_once(MessageId id, Deadline deadline = Deadline::never()) {
        const std::unique_ptr<DraftBuilder> builder = std::move(builder_);
        if (!builder) throw UsageError("this message was put already");
        return builder->put(deadline, &id);
    }

 private:
    std::unique_ptr<DraftBuilder> builder_;
    typename T::Builder root_;
};

/// A message, read in place, until ack() or the end of this object, which gives it to the next one.
template <class T>
class Lease {
 public:
    /// Throws ProtocolError when it is no such message.
    explicit Lease(RawLease lease) : body_{std::make_unique<Body>(std::move(lease))} {}
    const typename T::Reader* operator->() const noexcept { return &body_->root; }
    const typename T::Reader& operator*() const noexcept { return body_->root; }

    /// The message is done. Returns false when the lease had been taken away: somebody else has the
    /// message now.
    bool ack() { return body_->lease.ack(); }
    /// Gives it back, to stand behind all others.
    bool nack() { return body_->lease.nack(); }
    /// The same, and nobody gets it before `delay` has passed; then it comes first.
    bool nack(Duration delay) { return body_->lease.nack(delay); }
    /// Ends the message without anybody getting it again: it goes to the dead letters, where the
    /// queue has them, or is dropped and counted. Returns false when the lease had been taken away.
    bool reject() { return body_->lease.reject(); }
    /// Moves the end of the lease to `from_now`, sooner or later than it was. Returns false when
    /// the lease had been taken away.
    bool extend(Duration from_now) { return body_->lease.extend(from_now); }
    /// How often it was handed out, this time included.
    [[nodiscard]] std::uint32_t deliveries() const noexcept { return body_->lease.deliveries(); }
    [[nodiscard]] std::uint64_t sequence() const noexcept { return body_->lease.sequence(); }
    /// Of a message that died in another queue.
    [[nodiscard]] std::optional<DeadLetter> letter() const { return body_->lease.letter(); }

 private:
    struct Body {
        explicit Body(RawLease raw)
            : lease{std::move(raw)},
              segment{reinterpret_cast<const capnp::word*>(lease.bytes().data()),
                      lease.bytes().size() / sizeof(capnp::word)},
              reader{kj::arrayPtr(&segment, 1), reader_limits(segment.size())},
              root{get_root(reader)} {}
        static typename T::Reader get_root(capnp::SegmentArrayMessageReader& reader) {
            try {
                return reader.getRoot<T>();
            } catch (const kj::Exception& error) {
                throw ProtocolError(std::string("a broken message in a queue: ") +
                                    error.getDescription().cStr());
            }
        }
        RawLease lease;
        kj::ArrayPtr<const capnp::word> segment;
        capnp::SegmentArrayMessageReader reader;
        typename T::Reader root;
    };
    std::unique_ptr<Body> body_;  // readers point into it
};

/// Whether a queue configured for `schema` takes messages of this type: "bytes", the type's name
/// with or without its file, or its id as 0x...
[[nodiscard]] bool schema_fits(std::string_view schema, capnp::Schema type);

template <class T>
class Queue {
 public:
    /// Takes part. Throws UsageError when the queue was configured for another type.
    explicit Queue(RawQueue queue) : raw_{std::move(queue)} {
        if (!schema_fits(raw_.schema(), capnp::Schema::from<T>())) {
            throw UsageError("queue " + raw_.name() + " is configured for " + raw_.schema() +
                             ", not for " +
                             capnp::Schema::from<T>().getProto().getDisplayName().cStr());
        }
    }

    /// Room for a message of which about `bytes` are texts, data and lists. Switches while the
    /// queue is full. Throws a Timeout of its own once `deadline` has passed, QueueFull when the
    /// queue is full and refuses.
    Draft<T> prepare(std::size_t bytes = 0, Deadline deadline = Deadline::never()) {
        std::optional<RawDraft> draft = raw_.prepare(with_overhead(bytes), deadline);
        if (!draft && raw_.when_full() == WhenFull::reject)
            throw QueueFull("queue " + raw_.name() + " is full");
        if (!draft) throw Timeout{0};
        return Draft<T>{std::move(*draft)};
    }
    /// Builds a message by `build(T::Builder)` and puts it. Switches while the queue is full.
    /// Returns false once `deadline` has passed, or when the queue is full and refuses.
    template <class Build>
    bool put(Build&& build, std::size_t bytes = 0, Deadline deadline = Deadline::never()) {
        std::optional<RawDraft> room = raw_.prepare(with_overhead(bytes), deadline);
        if (!room) return false;
        Draft<T> draft{std::move(*room)};
        std::forward<Build>(build)(*draft);
        return draft.put(deadline);
    }

    /// The same, unless a message with this id was put within the queue's dedup window: then this
    /// one is dropped. Returns true when one with the id has been put. Throws QueueFull when the
    /// queue is full and drops what is new.
    template <class Build>
    bool put_once(MessageId id, Build&& build, std::size_t bytes = 0,
                  Deadline deadline = Deadline::never()) {
        std::optional<RawDraft> room = raw_.prepare(with_overhead(bytes), deadline);
        if (!room) return false;
        Draft<T> draft{std::move(*room)};
        std::forward<Build>(build)(*draft);
        return draft.put_once(id, deadline);
    }

    /// The next message; nothing once `deadline` has passed or the queue was stopped. Switches,
    /// unless there is one.
    std::optional<Lease<T>> next(Deadline deadline = Deadline::never()) {
        std::optional<RawLease> lease = raw_.next(deadline);
        if (!lease) return std::nullopt;
        return Lease<T>{std::move(*lease)};
    }
    /// As next(), for where the end is an error: throws Closed when the queue was stopped, a
    /// Timeout of its own once `deadline` has passed.
    Lease<T> get(Deadline deadline = Deadline::never()) {
        std::optional<Lease<T>> lease = get_for(deadline);
        if (!lease) throw Timeout{0};
        return std::move(*lease);
    }
    /// The next message if there is one before `limit` has passed. Throws Closed when the queue was
    /// stopped.
    std::optional<Lease<T>> get_for(Deadline limit) {
        std::optional<Lease<T>> lease = next(limit);
        if (!lease && raw_.stopped()) throw Closed("queue " + raw_.name() + " was stopped");
        return lease;
    }
    void stop() noexcept { raw_.stop(); }
    [[nodiscard]] RawQueue& raw() noexcept { return raw_; }

    /// `for (auto lease : queue)`: until the queue is stopped.
    class Iterator {
     public:
        explicit Iterator(Queue* queue) : queue_{queue} {
            if (queue_ != nullptr) ++*this;
        }
        Iterator& operator++() {
            lease_.reset();  // what was not acknowledged goes back before the next one is taken
            lease_ = queue_->next();
            return *this;
        }
        Lease<T>&& operator*() { return std::move(*lease_); }
        bool operator!=(const Iterator&) const noexcept { return lease_.has_value(); }

     private:
        Queue* queue_;
        std::optional<Lease<T>> lease_;
    };
    Iterator begin() { return Iterator{this}; }
    Iterator end() { return Iterator{nullptr}; }

 private:
    // Pointers, padding and the struct itself; a message that needs more is moved once, by put().
    static std::size_t with_overhead(std::size_t bytes) noexcept {
        return bytes + bytes / 16 + 192;
    }

    RawQueue raw_;
};

}  // namespace green::ipc
