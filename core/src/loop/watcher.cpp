#include <new>
#include <string>
#include <utility>

#include <green/errors.hpp>
#include <green/watcher_base.hpp>

#include "loop/reactor.hpp"
#include "loop/watcher_board.hpp"
#include "sched/hub.hpp"

namespace green {
namespace {

/// Nothing when there is no memory for words.
std::string in_words(const char* what, const Watcher& watcher) noexcept {
    try {
        return what + watcher.describe();
    } catch (const std::bad_alloc&) {
        return {};
    }
}

}  // namespace

/// One run of a callback, on the hub's stack.
struct Watcher::Run {
    std::function<void()> callback;
    std::function<void()> replaced;  // what it was to run next, had it not ended
    bool watcher_has_gone = false;
};

Watcher::Watcher(detail::WatcherKind kind, bool ref) noexcept : kind_{kind}, ref_{ref} {}

// The kinds have stopped it: what stopping means only they know.
Watcher::~Watcher() {
    if (running_ != nullptr) running_->watcher_has_gone = true;
    if (woken_ != nullptr) woken_->watcher_ = nullptr;
}

// --- start and stop ---

void Watcher::check_inactive(const char* attempt) const {
    if (active()) throw UsageError(std::string(attempt) + " while the watcher is active");
}

void Watcher::activate() {
    detail::WatcherBoard& board = detail::Hub::current().watchers();
    board.check_open();
    come_home();
    board_ = &board;
    arm();
    active_ = true;
    board.enter(*this);
}

void Watcher::deactivate() noexcept {
    active_ = false;
    started_by_waiter_ = false;
    board_->leave(*this);
}

void Watcher::begin(std::function<void()> callback) {
    if (!callback) throw UsageError("a watcher needs a callback");
    check_inactive("start()");
    stop();  // it may be pending from its life before
    prepare();
    activate();
    callback_ = std::move(callback);
}

void Watcher::replace(std::function<void()> callback) {
    if (!callback) throw UsageError("a watcher needs a callback");
    if (!active() && !in_own_callback()) throw UsageError("set_callback() on an inactive watcher");
    callback_.swap(callback);
}

void Watcher::stop() noexcept {
    come_home();
    // Destroyed last: its destructor may end up here again, or end this watcher.
    const std::function<void()> dropped = std::exchange(callback_, {});
    drop_pending();
    unseen_ = false;
    if (active_) {
        disarm();
        deactivate();
    }
    if (waiter_ == nullptr) return;
    static const std::exception_ptr stopped =
        std::make_exception_ptr(Closed("the watcher was stopped"));
    wake_waiter(stopped);
}

void Watcher::disarm() noexcept { watch_.reset(); }

void Watcher::come_home() noexcept {
    if (home_.is_here()) return;
    home_ = {};
    abandon();
    watch_.reset();
    seat_.forget();
    pending_.forget();
    active_ = owned_by_hub_ = started_by_waiter_ = settled_ = unseen_ = false;
    board_ = nullptr;
    running_ = nullptr;
    waiter_ = woken_ = nullptr;
}

void Watcher::feed() {
    if (!active()) throw UsageError("feed() on an inactive watcher");
    make_pending();
}
void Watcher::make_pending() noexcept { board_->make_pending(*this); }
void Watcher::drop_pending() noexcept {
    settled_ = false;
    if (pending_.linked()) board_->drop_pending(*this);
}

void Watcher::set_ref(bool ref) noexcept {
    if (active()) board_->set_ref(*this, ref);
    ref_ = ref;
}

void Watcher::set_priority(int priority) {
    if (priority < lowest_priority || priority > highest_priority) {
        throw UsageError("a watcher's priority is from -2 to 2, not " + std::to_string(priority));
    }
    come_home();
    if (active_ || pending_.linked())
        throw UsageError("set_priority() while the watcher is active");
    priority_ = priority;
}

void detach(std::unique_ptr<Watcher> watcher) {
    if (watcher == nullptr || !watcher->active()) {
        throw UsageError("only an active watcher can be detached");
    }
    detail::Hub::current().watchers().adopt(std::move(watcher));
}

// --- it happens ---

void Watcher::settle() noexcept {
    if (waiter_ == nullptr || !waiter_->open()) return;
    try {
        collect();
    } catch (...) {
        fail(std::current_exception());
        return;
    }
    settled_ = true;
    (void)wake_waiter();
}

void Watcher::run() noexcept {
    Run run;
    run.callback = std::exchange(callback_, {});
    running_ = &run;
    bool seen = std::exchange(settled_, false);
    try {
        if (!seen) collect();
    } catch (...) {
        running_ = nullptr;
        fail(std::current_exception());
        return;
    }
    if (!seen) seen = wake_waiter();
    if (run.callback) {
        call_back(run);
        if (run.watcher_has_gone) return;
    } else if (!seen && remembers()) {
        unseen_ = true;
    }
    running_ = nullptr;
    if (!active_) {
        run.replaced = std::exchange(callback_, {});
    } else if (!callback_) {
        callback_ = std::move(run.callback);
    }
}

void Watcher::call_back(Run& run) noexcept {
    detail::Hub& hub = board_->hub();
    const detail::WatcherKind kind = kind_;  // the callback may destroy it
    try {
        run.callback();
    } catch (...) {
        hub.report_error(
            run.watcher_has_gone ? "the callback" : in_words("the callback of ", *this),
            std::current_exception());
        // Told again and again, it would throw again and again.
        if (!run.watcher_has_gone && kind_ == detail::WatcherKind::io) stop();
    }
    if (kind != detail::WatcherKind::fork) detail::Hub::refuse_in_forked_child();
}

void Watcher::fail(const std::exception_ptr& error) noexcept {
    detail::Hub& hub = board_->hub();
    std::string who = in_words("a watcher of ", *this);
    wake_waiter(error);
    stop();
    hub.report_error(std::move(who), error);
}

// --- greenlets that wait ---

// The others are as they are: whoever comes later finds them so, or starts them anew.
bool Watcher::remembers() const noexcept {
    return kind_ == detail::WatcherKind::signal || kind_ == detail::WatcherKind::async;
}

bool Watcher::wait(Deadline deadline) {
    Ready node{*this};
    return detail::park(node, deadline) || node.missed();
}

void Watcher::cancel_wait(const std::exception_ptr& error) noexcept {
    come_home();
    wake_waiter(error);
}

bool Watcher::wake_waiter() noexcept {
    if (waiter_ == nullptr) return false;
    const bool sees = waiter_->open();
    if (!sees && remembers()) return false;
    if (woken_ != nullptr) woken_->watcher_ = nullptr;  // what it misses now, this one sees
    woken_ = &dismiss_waiter();
    woken_->fire();
    return sees;
}

void Watcher::wake_waiter(const std::exception_ptr& error) noexcept {
    if (waiter_ == nullptr) return;
    Ready& lost = dismiss_waiter();
    lost.watcher_ = nullptr;
    lost.error_ = error;
    lost.lose_source();
}

Watcher::Ready& Watcher::dismiss_waiter() noexcept {
    if (started_by_waiter_ && active_) {
        disarm();
        deactivate();
        drop_pending();
    }
    return *std::exchange(waiter_, nullptr);
}

Watcher::Ready::Ready(Watcher& watcher) noexcept
    : WaitNode{watcher.ref() ? detail::Reach::outside : detail::Reach::background},
      watcher_{&watcher} {}

Watcher::Ready::~Ready() {
    if (watcher_ != nullptr && watcher_->woken_ == this) watcher_->woken_ = nullptr;
}

void Watcher::Ready::prepare() {
    if (watcher_ == nullptr || watcher_->active()) return;
    watcher_->prepare();
    prepared_ = true;
}

bool Watcher::Ready::arm() {
    const bool prepared = std::exchange(prepared_, false);
    if (watcher_ == nullptr) throw Closed("the watcher has gone");
    Watcher& watcher = *watcher_;
    watcher.come_home();
    if (watcher.waiter_ != nullptr) {
        throw ConcurrentUse("another greenlet waits for " + watcher.describe() + " already");
    }
    error_ = nullptr;
    if (std::exchange(watcher.unseen_, false) || watcher.happened()) return true;
    if (!watcher.active_) {
        if (!prepared) watcher.prepare();
        watcher.activate();
        watcher.started_by_waiter_ = true;
    }
    watcher.waiter_ = this;
    return false;
}

void Watcher::Ready::disarm() noexcept {
    if (watcher_ == nullptr || watcher_->waiter_ != this) return;
    watcher_->waiter_ = nullptr;
    if (watcher_->started_by_waiter_) watcher_->stop();
}

void Watcher::Ready::abandon() noexcept {
    if (watcher_ != nullptr && watcher_->remembers()) watcher_->unseen_ = true;
}

void Watcher::Ready::describe(std::string& into) const {
    into += watcher_ != nullptr ? watcher_->describe() : "a watcher that has gone";
}

void Watcher::Ready::throw_lost() const { std::rethrow_exception(error_); }

}  // namespace green
