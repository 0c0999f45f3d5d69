#include <algorithm>
#include <array>

#include <green/detail/park.hpp>
#include <green/detail/timer.hpp>
#include <green/greenlet.hpp>

#include "sched/hub.hpp"

namespace green {
namespace {

const std::exception_ptr& exit_reason() {
    static const std::exception_ptr reason = std::make_exception_ptr(GreenletExit{});
    return reason;
}

}  // namespace

TimePoint now() noexcept {
    detail::Hub* hub = detail::Hub::current_or_null();
    return hub != nullptr ? hub->now() : std::chrono::steady_clock::now();
}

TimePoint detail::soon() noexcept {
    detail::Hub* hub = detail::Hub::current_or_null();
    return hub != nullptr ? hub->soon() : std::chrono::steady_clock::now();
}

bool AnyGreenlet::Ready::arm() {
    if (task_->ended()) return true;
    task_->joiners.push_back(*this);
    return false;
}
void AnyGreenlet::Ready::describe(std::string& into) const {
    into += "the end of " + task_->name();
}

bool AnyGreenlet::join(Deadline deadline) const {
    if (ready()) return true;
    Ready node{*this};
    return detail::park(node, deadline) || ready();  // it may have ended since the limit passed
}

bool AnyGreenlet::kill(Deadline deadline) const { return kill(exit_reason(), deadline); }
bool AnyGreenlet::kill(std::exception_ptr reason, Deadline deadline) const {
    kill_soon(std::move(reason));
    // Under a shield it does not throw yet, and nobody can wait for his own end.
    return task_.get() != &detail::current_task() && join(deadline);
}
void AnyGreenlet::kill_soon() const { kill_soon(exit_reason()); }
void AnyGreenlet::kill_soon(std::exception_ptr reason) const {
    if (!reason) reason = exit_reason();
    detail::kill(*task_, std::move(reason));
}

std::exception_ptr AnyGreenlet::exception() const noexcept {
    task_->unobserved = false;
    return task_->failure;
}

std::size_t AnyGreenlet::minimal_ident() const {
    if (ready() && !task_->hub_is_here()) {  // its hub may have gone
        return task_->minimal_ident == detail::Task::no_ident ? 0 : task_->minimal_ident;
    }
    return task_->hub->minimal_ident(*task_);
}

void AnyGreenlet::rethrow_failure() const {
    if (outcome() == Outcome::failed) std::rethrow_exception(exception());
    if (outcome() == Outcome::exited) std::rethrow_exception(exit_reason());
}

void yield() { detail::Hub::current().yield(); }

namespace {

void sleep_to(Deadline deadline, TimerOptions options) {
    if (deadline == Deadline::passed()) {
        yield();
        return;
    }
    if (deadline.is_never() || !options.ref) {
        After::Ready node{After{deadline, options}};
        detail::park(node, Deadline::never());
    } else {
        detail::Hub::current().sleep_until(deadline.when());
    }
}

}  // namespace

void sleep(Duration duration, TimerOptions options) { sleep_to(duration, options); }
void sleep_until(TimePoint when, TimerOptions options) {
    const Deadline deadline = Deadline::at(when);
    sleep_to(deadline.has_passed() ? Deadline::passed() : deadline, options);
}

void idle() { detail::Hub::current().wait_idle(); }

AnyGreenlet current() {
    detail::Task& task = detail::current_task();
    task.retain();
    return AnyGreenlet{detail::TaskPtr<detail::Task>{&task}};
}

}  // namespace green
