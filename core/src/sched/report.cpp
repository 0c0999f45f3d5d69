// What people read: who waits on what, and what went wrong.

#include <algorithm>
#include <cstdio>
#include <span>
#include <utility>
#include <vector>

#include <green/hub.hpp>
#include <green/shield.hpp>

#include "loop/watcher_board.hpp"
#include "sched/hub.hpp"
#include "sched/symbols.hpp"

namespace green {
namespace detail {
namespace {

/// The frames of a throw, without those that the language's own throwing adds.
std::vector<const void*> without_throwing(std::span<const void* const> frames) {
    constexpr std::size_t deepest = 8;  // so many of them at the most
    std::size_t first = 0;
    for (std::size_t i = 0; i < std::min(frames.size(), deepest); ++i) {
        const std::string name = code_address(frames[i]);
        if (name.find("cxa_throw") != name.npos || name.find("rethrow") != name.npos) first = i + 1;
    }
    return {frames.begin() + static_cast<std::ptrdiff_t>(first), frames.end()};
}

bool is_fatal(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const FatalError&) {
        return true;
    } catch (...) {
        return false;
    }
}

void write_to_stderr(const ErrorReport& report) noexcept {
    try {
        const std::string text = "greensup: " + report.text();
        std::fwrite(text.data(), 1, text.size(), stderr);
    } catch (...) {  // no memory for the text: say the least
        std::fputs("greensup: a greenlet failed, and no memory is left to say how\n", stderr);
    }
}

}  // namespace

std::string Hub::name_of(const Task* task, std::uint64_t id) {
    const Task* found = task == hub_.get() ? hub_.get() : nullptr;
    tasks_.for_each([&](Task& living) {
        if (&living == task && living.id == id) found = &living;
    });
    return found != nullptr ? found->name()
                            : "greenlet " + std::to_string(id) + ", which has ended";
}

void Hub::report_error(const ErrorReport& report) noexcept {
    // A second one at once is reported as others are.
    if (main_takes_errors_ && !main_->kill && is_fatal(report.error)) {
        main_->kill = report.error;
        interrupt(*main_);
        return;
    }
    if (const auto handler = on_error_) {
        const NoSwitch fence{"an error handler must not wait"};
        try {
            (*handler)(report);
            return;
        } catch (...) {  // a handler that fails loses nothing: both errors are told the plain way
            constexpr const char* short_name = "error handler";  // which needs no memory
            write_to_stderr({short_name, std::current_exception(), {}, nullptr});
        }
    }
    write_to_stderr(report);
}

void Hub::report_error(std::string where, std::exception_ptr error) noexcept {
    report_error(ErrorReport{std::move(where), std::move(error), {}, nullptr});
}

void Hub::report_error(Task& task) noexcept {
    try {
        report_error(report_of(task));
    } catch (...) {  // no memory for the report
        report_error(std::string{}, task.failure);
    }
}

ErrorReport Hub::report_of(Task& task) {
    // "void (int, char)" without its result
    const std::string arguments = type_name(*task.callable->arguments).substr(5);
    return {task.name() + arguments, task.failure, without_throwing(throw_site_.frames_of(task.id)),
            task.spawned_from};
}

void Hub::report_failure(Task& task) noexcept {
    if (error_policy_ == ErrorPolicy::immediate || is_fatal(task.failure)) {
        report_error(task);
    } else {
        task.unobserved = error_policy_ == ErrorPolicy::unobserved;
    }
}

/// When main cannot handle anything any more, nothing is thrown into it. What waits for it is told.
void Hub::keep_from_main() noexcept {
    main_takes_errors_ = false;
    const std::exception_ptr undelivered = std::exchange(main_->kill, nullptr);
    if (undelivered && is_fatal(undelivered)) report_error("main", undelivered);
}

void Hub::trace(TraceEvent event, Task& task) noexcept {
    const auto hook = trace_;
    const NoSwitch fence{"a trace hook must not wait"};
    task.retain();
    (*hook)(event, AnyGreenlet{TaskPtr<Task>{&task}});
}

HubFigures Hub::figures() const noexcept {
    return {task_count_,       stacks_->taken(),     timers_.size(), outside_waits_, switches_,
            watchers_->size(), watchers_->pending(), turns_,         lag_,           longest_lag_};
}

}  // namespace detail

std::string describe(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return detail::type_name(typeid(e)) + ": " + e.what();
    } catch (const Interrupt& e) {
        return e.what();
    } catch (...) {
        return "an exception of a type that is not std::exception";
    }
}

std::string ErrorReport::text() const {
    std::string text = where + " failed: " + describe(error) + "\n";
    for (const void* address : thrown_at)
        text += "    thrown at " + detail::code_address(address) + "\n";
    if (spawned_at != nullptr) text += "    spawned at " + detail::code_address(spawned_at) + "\n";
    return text;
}

void configure_hub(const HubOptions& options) { detail::Hub::configure(options); }
HubFigures hub_figures() { return detail::Hub::current().figures(); }
void set_error_handler(ErrorHandler handler) {
    detail::Hub::current().set_error_handler(std::move(handler));
}

void set_error_policy(ErrorPolicy policy) { detail::Hub::current().set_error_policy(policy); }
void set_trace_hook(TraceHook hook) { detail::Hub::current().set_trace(std::move(hook)); }

}  // namespace green
