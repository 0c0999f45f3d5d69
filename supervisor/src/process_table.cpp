#include "process_table.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <sstream>

#include <green/log.hpp>
#include <green/sys.hpp>

#include "refusal.hpp"

namespace greensup {
namespace {

namespace sys = green::sys;

constexpr std::size_t row_size = 96;
constexpr std::size_t most_rows = 16384;

std::string padded(std::string text) {
    text.resize(row_size - 1, ' ');
    return text + '\n';
}

std::string read_file(const std::string& path, std::size_t most) {
    const auto opened = sys::open(path.c_str(), O_RDONLY | O_NOFOLLOW);
    if (!opened.ok()) return {};
    const green::Fd file{opened.as_int()};
    std::string text;
    std::array<char, 4096> part{};
    while (text.size() < most) {
        const auto got = sys::read(file.number(), part.data(), part.size());
        if (!got.ok() || got.value == 0) break;
        text.append(part.data(), got.as_size());
    }
    return text;
}

std::optional<ProcessRecord> parse(const std::string& row) {
    std::istringstream words(row);
    ProcessRecord record;
    std::string kind;
    std::int64_t milliseconds = 0;
    if (!(words >> record.pid >> record.start_time >> kind >> milliseconds >> record.name))
        return std::nullopt;
    if (record.pid <= 1) return std::nullopt;
    record.kind = kind == "hub" ? Kind::hub : Kind::exec;
    record.patience = std::chrono::milliseconds(milliseconds);
    return record;
}

}  // namespace

std::optional<std::uint64_t> start_time_of(int pid) {
    const auto text = read_file("/proc/" + std::to_string(pid) + "/stat", row_size * 64);
    // The name of the program stands in parentheses and may hold anything, also ") 1 2 3".
    const auto end = text.rfind(')');
    if (end == std::string::npos) return std::nullopt;
    std::istringstream fields(text.substr(end + 1));
    std::string field;
    constexpr int first = 3;  // the state comes right behind the name
    constexpr int wanted = 22;
    for (int i = first; i <= wanted; ++i)
        if (!(fields >> field)) return std::nullopt;
    std::istringstream number(field);
    std::uint64_t value = 0;
    if (!(number >> value)) return std::nullopt;
    return value;
}

std::vector<ProcessRecord> ProcessTable::read(const std::string& path) {
    std::vector<ProcessRecord> records;
    std::istringstream lines(read_file(path, row_size * most_rows));
    for (std::string row; std::getline(lines, row);)
        if (auto record = parse(row)) records.push_back(std::move(*record));
    return records;
}

ProcessTable::ProcessTable(const std::string& path) {
    const auto opened = sys::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (!opened.ok())
        throw Refusal(Code::files, "cannot write " + path + ": " + std::strerror(opened.error));
    file_ = green::Fd{opened.as_int()};
}

int ProcessTable::reserve() {
    const auto found = std::find(taken_.begin(), taken_.end(), false);
    const auto row = found - taken_.begin();
    if (found == taken_.end()) {
        const auto blank = padded("");
        const auto size = sys::must(sys::pwrite(file_.number(), blank.data(), blank.size(),
                                                row * static_cast<off_t>(row_size)),
                                    "writing the table of processes");
        if (size != static_cast<std::intptr_t>(row_size))
            sys::fail(ENOSPC, "writing the table of processes");
        taken_.push_back(true);
    } else {
        *found = true;
    }
    return static_cast<int>(row);
}

void ProcessTable::fill(int row, const ProcessRecord& record) {
    const auto patience =
        std::chrono::duration_cast<std::chrono::milliseconds>(record.patience).count();
    std::ostringstream text;
    text << record.pid << ' ' << record.start_time << ' '
         << (record.kind == Kind::hub ? "hub" : "exec") << ' ' << patience << ' ' << record.name;
    const auto line = padded(text.str());
    const auto written =
        sys::pwrite(file_.number(), line.data(), line.size(), row * static_cast<off_t>(row_size));
    if (!written.ok())
        green::log::warning("processes.lost",
                            {{"pid", record.pid}, {"error", std::strerror(written.error)}});
}

void ProcessTable::clear(int row) {
    const auto blank = padded("");
    (void)sys::pwrite(file_.number(), blank.data(), blank.size(),
                      row * static_cast<off_t>(row_size));
    taken_[static_cast<std::size_t>(row)] = false;
}

}  // namespace greensup
