// What people read: who waits on what, and what went wrong.

#include <cstdio>
#include <utility>

#include <green/hub.hpp>

#include "sched/hub.hpp"
#include "sched/symbols.hpp"

namespace green {
namespace detail {
namespace {

const char* text(TaskState state) noexcept {
    switch (state) {
        case TaskState::fresh:
            return "not started";
        case TaskState::ready:
            return "ready";
        case TaskState::running:
            return "running";
        case TaskState::parked:
            return "waits";
        case TaskState::done:
            return "ended";
    }
    return "?";
}

void default_report(const std::string& where, const std::exception_ptr& error) noexcept {
    try {
        const std::string line = "greensup: " + where + " failed: " + describe(error) + "\n";
        std::fwrite(line.data(), 1, line.size(), stderr);
    } catch (...) {  // no memory for the text: say the least
        std::fputs("greensup: a greenlet failed, and no memory is left to say how\n", stderr);
    }
}

}  // namespace

std::string Hub::report_tasks() {
    std::string report;
    const TimePoint present = now();
    tasks_.for_each([&](Task& task) {
        report += "  " + task.name() + ": " + text(task.state);
        if (task.state == TaskState::parked) {
            for (std::size_t i = 0; i < task.wait_count; ++i) {
                report += i == 0 ? " on " : " or ";
                task.waits[i]->describe(report);
            }
            const auto waited =
                std::chrono::duration_cast<std::chrono::milliseconds>(present - task.since);
            report += " for " + std::to_string(waited.count()) + " ms";
        }
        if (task.spawned_from != nullptr)
            report += ", spawned at " + code_address(task.spawned_from);
        report += "\n";
    });
    return report;
}

void Hub::report_error(const std::string& where, std::exception_ptr error) noexcept {
    if (on_error_) {
        try {
            on_error_(where, error);
            return;
        } catch (...) {  // a handler that fails loses nothing: both errors are told the plain way
            default_report("the error handler", std::current_exception());
        }
    }
    default_report(where, error);
}

HubFigures Hub::figures() const noexcept {
    return {tasks_.size() - 1, stacks_->taken() - 1, timers_.size(), outside_waits_, switches_};
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

HubFigures hub_figures() { return detail::Hub::current().figures(); }
std::string hub_report() { return detail::Hub::current().report_tasks(); }
void set_error_handler(ErrorHandler handler) {
    detail::Hub::current().set_error_handler(std::move(handler));
}

HubRef::HubRef() : hub_{&detail::Hub::current()} {}
void HubRef::post(std::function<void()> function) const { hub_->post(std::move(function)); }

}  // namespace green
