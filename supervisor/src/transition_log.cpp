#include "transition_log.hpp"

#include <chrono>
#include <cstring>

#include <nlohmann/json.hpp>

#include <green/log.hpp>
#include <green/sys.hpp>

#include "refusal.hpp"
#include "wall_clock.hpp"

namespace greensup {

namespace sys = green::sys;

TransitionLog::TransitionLog(const std::string& path) : path_{path} {
    const auto opened =
        sys::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0600);
    if (!opened.ok())
        throw Refusal(Code::files, "cannot write " + path + ": " + std::strerror(opened.error));
    file_ = green::Fd{opened.as_int()};
}

void TransitionLog::write(std::string_view pool, const Transition& transition) {
    nlohmann::ordered_json line = {{"t_ns", transition.at.time_since_epoch().count()},
                                   {"time", wall_text(wall_ms(transition.at))},
                                   {"pool", pool},
                                   {"slot", transition.slot},
                                   {"generation", transition.generation},
                                   {"pid", transition.pid},
                                   {"from", to_text(transition.from)},
                                   {"to", to_text(transition.to)},
                                   {"cause", to_text(transition.cause)}};
    const std::string text =
        (is_torn_ ? "\n" : "") +
        line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    const auto written = sys::write(file_.number(), text.data(), text.size());
    if (written.ok() && written.as_size() == text.size()) {
        if (is_failing_)
            green::log::info("transitions.resumed", {{"path", path_}, {"lost", lost_}});
        is_failing_ = is_torn_ = false;
        return;
    }
    if (written.ok() && written.as_size() > 0) is_torn_ = true;
    lose(written.ok() ? ENOSPC : written.error);
}

void TransitionLog::lose(int error) {
    ++lost_;
    if (!is_failing_)
        green::log::warning("transitions.lost",
                            {{"path", path_}, {"error", std::strerror(error)}, {"lost", lost_}});
    is_failing_ = true;
}

}  // namespace greensup
