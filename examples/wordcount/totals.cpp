#include "totals.hpp"

#include <stdexcept>

#include <sqlite3.h>

namespace {

[[noreturn]] void fail(sqlite3* database, const std::string& what) {
    throw std::runtime_error(what + ": " +
                             (database != nullptr ? sqlite3_errmsg(database) : "no memory"));
}

void run(sqlite3* database, const char* sql) {
    if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(database, sql);
}

struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

Statement prepare(sqlite3* database, const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, nullptr) != SQLITE_OK)
        fail(database, sql);
    return Statement{statement};
}

/// Rolls back unless it was committed.
class Transaction {
 public:
    explicit Transaction(sqlite3* database) : database_{database} {
        run(database_, "BEGIN IMMEDIATE");
    }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction() {
        if (!done_) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
    }
    void commit() {
        run(database_, "COMMIT");
        done_ = true;
    }

 private:
    sqlite3* database_;
    bool done_ = false;
};

std::uint64_t column(const Statement& row, int index) {
    return static_cast<std::uint64_t>(sqlite3_column_int64(row.get(), index));
}

}  // namespace

void Totals::Close::operator()(sqlite3* database) const noexcept { sqlite3_close(database); }

Totals::Totals(const std::string& path) {
    sqlite3* database = nullptr;
    const int result = sqlite3_open(path.c_str(), &database);
    database_.reset(database);
    if (result != SQLITE_OK) fail(database, path);
    // The old generation may be writing while the new one opens.
    sqlite3_busy_timeout(database, 10'000);
    run(database, "PRAGMA journal_mode = WAL");
    run(database, "PRAGMA synchronous = NORMAL");
    run(database,
        "CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, lines INTEGER, words INTEGER, "
        "bytes INTEGER)");
}

void Totals::store(const std::vector<NamedTotal>& totals) {
    Transaction transaction{database_.get()};
    const Statement insert =
        prepare(database_.get(), "INSERT OR REPLACE INTO totals VALUES (?, ?, ?, ?)");
    for (const NamedTotal& total : totals) {
        sqlite3_bind_text(insert.get(), 1, total.name.data(), static_cast<int>(total.name.size()),
                          SQLITE_STATIC);
        sqlite3_bind_int64(insert.get(), 2, static_cast<sqlite3_int64>(total.lines));
        sqlite3_bind_int64(insert.get(), 3, static_cast<sqlite3_int64>(total.words));
        sqlite3_bind_int64(insert.get(), 4, static_cast<sqlite3_int64>(total.bytes));
        if (sqlite3_step(insert.get()) != SQLITE_DONE) fail(database_.get(), "storing totals");
        sqlite3_reset(insert.get());
    }
    transaction.commit();
}

std::vector<NamedTotal> Totals::all() {
    const Statement select =
        prepare(database_.get(), "SELECT name, lines, words, bytes FROM totals ORDER BY name");
    std::vector<NamedTotal> totals;
    int result = 0;
    while ((result = sqlite3_step(select.get())) == SQLITE_ROW) {
        const auto* name = reinterpret_cast<const char*>(sqlite3_column_text(select.get(), 0));
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(select.get(), 0));
        totals.push_back({{name, size}, column(select, 1), column(select, 2), column(select, 3)});
    }
    if (result != SQLITE_DONE) fail(database_.get(), "reading totals");
    return totals;
}
