#pragma once
// What a lazy map keeps between the feeder, which reads the input and begins a call for each
// element, and the reader, who takes the results.
//
//  M1  A call stands in `running_` or in `line_` from its beginning until its result is read. The
//      line is what the reader takes from, front first: it holds all calls when results come in
//      the order of the input, and only ended ones when they come in the order of completion.
//  M2  A reader takes a result only when it leaves its wait in peace: one that is killed or times
//      out leaves the result to the next.
//  M3  stop() comes before the end: no call and no feeder outlives the feed.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include <green/deadline.hpp>
#include <green/detail/home.hpp>
#include <green/detail/park.hpp>
#include <green/errors.hpp>
#include <green/greenlet.hpp>
#include <green/shield.hpp>

namespace green::detail {

enum class MapOrder : std::uint8_t { input, completion };

template <class T>
class MapFeed {
 public:
    using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

    struct Call final : EndHook {
        Call(MapFeed& owner, const Greenlet<T>& call) noexcept : feed{&owner}, greenlet{call} {}
        void ended(Task&) noexcept override { feed->call_ended(*this); }

        MapFeed* feed;
        Greenlet<T> greenlet;
        typename std::list<Call>::iterator self;
    };
    /// One call on its way into the feed.
    using Place = std::list<Call>;

    explicit MapFeed(MapOrder order) noexcept : order_{order} {}
    MapFeed(const MapFeed&) = delete;
    MapFeed& operator=(const MapFeed&) = delete;
    virtual ~MapFeed() = default;

    // --- the feeder's side ---

    void set_feeder(const Greenlet<void>& feeder) {
        feeder_.emplace(feeder);
        feeder.task().end_hooks.push_back(feeder_end_);
    }
    /// Switches while `most` calls are begun and not read.
    void wait_for_room(std::size_t most) {
        while (running_.size() + line_.size() >= most) {
            ListNode node{room_, "a reader of a lazy map"};
            park(node, Deadline::never());
        }
    }
    [[nodiscard]] Place place_for(const Greenlet<T>& call) {
        Place place;
        place.emplace_back(*this, call);
        place.front().self = place.begin();
        return place;
    }
    void append(Place place) noexcept {
        Call& call = place.front();
        Place& calls = order_ == MapOrder::input ? line_ : running_;
        calls.splice(calls.end(), place);
        if (call.greenlet.ready()) {
            call_ended(call);
        } else {
            call.greenlet.task().end_hooks.push_back(call);
        }
    }

    // --- the reader's side ---

    /// Waits until next() need not wait.
    class Look : public WaitNode {
     public:
        explicit Look(MapFeed& feed) noexcept : WaitNode{Reach::inside}, feed_{&feed} {}
        bool arm() override {
            feed_->come_home();
            if (feed_->ready()) return true;
            feed_->readers_.push_back(*this);
            return false;
        }
        void describe(std::string& into) const override { into += "the next result of a lazy map"; }

     private:
        MapFeed* feed_;
    };

    [[nodiscard]] std::optional<Value> next(Deadline deadline) {
        come_home();
        while (!ready()) {
            Look node{*this};
            if (!park(node, deadline)) return std::nullopt;
        }
        if (line_.empty()) {
            if (!std::exchange(end_told_, true)) feeder_->get();  // may throw what the input threw
            return std::nullopt;
        }
        Place first;
        first.splice(first.end(), line_, line_.begin());
        room_.fire_all();
        if constexpr (std::is_void_v<T>) {
            first.front().greenlet.get();
            return Value{};
        } else {
            return first.front().greenlet.take();
        }
    }
    [[nodiscard]] bool end_told() const noexcept { return end_told_; }
    /// Kills the feeder and all calls, and waits for their end. Switches while they run; whatever
    /// befalls the caller meanwhile waits.
    void stop() noexcept {
        const Shield shield;
        stopping_ = true;
        if (feeder_) feeder_->kill();
        for (Place* calls : {&running_, &line_}) {
            for (Call& call : *calls) call.greenlet.kill_soon();
        }
        for (Place* calls : {&running_, &line_}) {
            for (Call& call : *calls) call.greenlet.join();
        }
    }

    /// What an iterator stands on.
    std::optional<Value> current;

 private:
    struct FeederEnd final : EndHook {
        explicit FeederEnd(MapFeed& owner) noexcept : feed{&owner} {}
        void ended(Task&) noexcept override {
            if (!feed->stopping_ && feed->ready()) feed->readers_.fire_all();
        }
        MapFeed* feed;
    };

    /// There is a result, or nothing more will come.
    [[nodiscard]] bool ready() const noexcept {
        return line_.empty() ? running_.empty() && feeder_->ready()
                             : line_.front().greenlet.ready();
    }
    /// In a forked child all calls have ended, and none tells.
    void come_home() noexcept {
        if (home_.is_here()) [[likely]]
            return;
        home_ = {};
        line_.splice(line_.end(), running_);
    }
    void call_ended(Call& call) noexcept {
        if (stopping_) return;
        if (order_ == MapOrder::completion) line_.splice(line_.end(), running_, call.self);
        if (line_.front().greenlet.ready()) readers_.fire_all();
    }

    MapOrder order_;
    bool end_told_ = false;
    bool stopping_ = false;
    Home home_;
    Place running_;
    Place line_;
    std::optional<Greenlet<void>> feeder_;
    FeederEnd feeder_end_{*this};
    WaitList<ListNode> room_;
    WaitList<Look> readers_;
};

/// What calling a function of type F with the elements of a range gives.
template <class F, class Range>
using MapResult =
    CallResult<std::reference_wrapper<std::decay_t<F>>, std::ranges::range_value_t<Range>>;

/// A function of type F can be called with each element of a range, which is handed over to it.
template <class F, class Range>
concept MapsOver = std::ranges::input_range<Range> && std::invocable < std::decay_t<F>
&, std::ranges::range_value_t < Range >> ;

/// A range for somebody who reads it later: borrowed when it was given as an lvalue, else its own.
template <class Range>
class KeptRange {
 public:
    explicit KeptRange(Range&& range) noexcept requires std::is_lvalue_reference_v<Range>
        : range_{&range} {}
    explicit KeptRange(Range&& range) : range_(std::move(range)) {}

    /// As it was given.
    [[nodiscard]] Range&& get() noexcept {
        if constexpr (std::is_lvalue_reference_v<Range>) {
            return *range_;
        } else {
            return std::move(range_);
        }
    }

 private:
    std::conditional_t<std::is_lvalue_reference_v<Range>, std::remove_reference_t<Range>*, Range>
        range_;
};

/// The element at an iterator of a range that was given as a `Range&&`: a value of its own, for a
/// call that outlives the step of the iterator. It is moved out when the range was handed over as a
/// whole, or passes its elements only once and they cannot be copied.
template <class Range, class Iterator>
[[nodiscard]] std::ranges::range_value_t<Range> take_element(Iterator& at) {
    using Value = std::ranges::range_value_t<Range>;
    constexpr bool handed_over = !std::is_lvalue_reference_v<Range> && !std::ranges::view<Range>;
    constexpr bool must_move = !std::ranges::forward_range<Range> &&
                               !std::constructible_from<Value, std::iter_reference_t<Iterator>>;
    if constexpr (handed_over || must_move) {
        return static_cast<Value>(std::ranges::iter_move(at));
    } else {
        return static_cast<Value>(*at);
    }
}

}  // namespace green::detail
