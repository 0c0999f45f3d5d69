// What an OpenPipe tells of itself.
#include <algorithm>
#include <array>

#include "open_pipe_ends.hpp"

namespace greensup {

std::string_view to_text(EndFigures::State state) {
    constexpr std::array<std::string_view, 6> names{"open",  "next",   "held",
                                                    "ended", "closed", "gone"};
    return names.at(static_cast<std::size_t>(state));
}

std::uint64_t OpenPipe::left_in(const Writer& writer) {
    return writer.whole.size() + writer.cutter.held() +
           (writer.is_gone ? writer.left_behind : unread_in(writer.ours));
}

std::uint64_t OpenPipe::waiting_for(std::set<int> slots) {
    for (const auto& [number, reader] : readers_) note_read(*reader);
    for (const auto slot : deaf_slots()) slots.erase(slot);
    auto all = flow_.waiting_for(slots);
    for (const auto& [number, writer] : writers_)
        if (std::any_of(slots.begin(), slots.end(), [&, &writer = writer](int slot) {
                return flow_.feeds(writer->slot, slot);
            }))
            all += left_in(*writer);
    return all;
}

void OpenPipe::note_what_stands() {
    for (const auto& [number, reader] : readers_) note_read(*reader);
    for (const auto& [number, writer] : writers_) {
        auto& since = writer->stands_since;
        if (!writer->was_stopped || left_in(*writer) == 0)
            since.reset();
        else if (!since)
            since = green::now();
    }
    glance_later();
}

/// A reader reads without a word to us, and so does write who is not read from.
void OpenPipe::glance_later() {
    if (is_set(glance_)) return;
    const auto stands = [](const auto& reader) { return reader.second->stands_since.has_value(); };
    const auto stopped = [](const auto& writer) { return writer.second->was_stopped; };
    if (std::any_of(readers_.begin(), readers_.end(), stands) ||
        std::any_of(writers_.begin(), writers_.end(), stopped))
        glance_.start([this] { note_what_stands(); });
}

PipeFigures OpenPipe::figures() {
    note_what_stands();
    auto figures = counted_;
    figures.waiting = flow_.waiting();
    figures.missed = flow_.missed();
    for (const auto& [number, writer] : writers_) {
        figures.waiting += left_in(*writer);
        figures.torn += writer->cutter.torn();
        figures.refused += writer->cutter.refused();
        figures.writers.push_back(end_of(*writer));
    }
    std::set<int> away;
    for (int slot = 0; slot < flow_.readers(); ++slot) away.insert(slot);
    for (const auto& [number, reader] : readers_) {
        figures.readers.push_back(end_of(*reader));
        if (!reader->closed_at) away.erase(reader->slot);
    }
    for (const auto slot : away)
        figures.readers.push_back(
            {slot, 0, EndFigures::State::gone, 0, flow_.outlet(slot).size(), std::nullopt});
    return figures;
}

EndFigures OpenPipe::end_of(const Writer& writer) const {
    using State = EndFigures::State;
    const auto state = writer.is_gone      ? State::gone
                       : !is_first(writer) ? State::next
                       : writer.was_held   ? State::held
                       : writer.is_at_end  ? State::ended
                                           : State::open;
    return {writer.slot,     writer.is_gone ? 0 : writer.pid,
            state,           writer.taken,
            left_in(writer), writer.stands_since};
}

EndFigures OpenPipe::end_of(const Reader& reader) {
    using State = EndFigures::State;
    const bool is_first = this->is_first(reader);
    const auto state = reader.closed_at         ? State::closed
                       : !reader.ours.is_open() ? State::ended
                       : !is_first              ? State::next
                                                : State::open;
    return {reader.slot,
            reader.pid,
            state,
            reader.sent,
            is_first ? flow_.outlet(reader.slot).size() : 0,
            reader.stands_since};
}

}  // namespace greensup
