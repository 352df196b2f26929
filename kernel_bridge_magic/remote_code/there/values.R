# Reads or sets variables of an R kernel (IRkernel). It runs in an environment of its own, under base, so that no
# function of the owner's is called and no name is left.
#
# What to do stands in the request's user_expressions, which IRkernel does not look at, and the answer goes out as a
# payload of the reply: both go between the two ends only. All numbers go as hexadecimal texts, which are exact.
base::eval(base::quote({
    kernel <- NULL
    for (frame in sys.frames()) {
        kernel <- tryCatch(get(".self", envir = frame), error = function(e) NULL)
        if (inherits(kernel, "Executor")) break
    }
    said <- function(text) structure(class = c("refused", "error", "condition"), list(message = text, call = NULL))
    refuse <- function(...) stop(said(paste0(...)))

    write_names <- function(x) {
        if (is.null(names(x))) return(NULL)
        found <- enc2utf8(names(x))
        if (anyNA(found) || any(found == "")) refuse("has items with a name and items without")
        if (anyDuplicated(found)) refuse("has the name ", found[anyDuplicated(found)], " twice")
        found
    }
    write_texts <- function(x) {
        x <- enc2utf8(as.character(x))
        if (!all(validUTF8(x) | is.na(x)) || any(Encoding(x) == "bytes")) refuse("has text that is no UTF-8")
        x
    }
    hexadecimal <- function(x) ifelse(is.na(x) & !is.nan(x), NA_character_, sprintf("%a", x))
    write_value <- function(x, depth = 0) {
        if (depth > 100) refuse("is nested deeper than 100 levels")
        kind <- function(t, v, ...) list(t = unbox(t), v = if (is.list(v)) v else I(unname(v)),
                                         n = I(c(character(0), write_names(x))),
                                         named = unbox(!is.null(names(x))), ...)
        each <- function(items) lapply(unname(items), write_value, depth = depth + 1)
        if (is.null(x)) return(list(t = unbox("null")))
        if (is.data.frame(x)) {
            rows <- if (.row_names_info(x) > 0L) write_texts(row.names(x)) else NULL
            if (any(vapply(x, function(column) !is.null(dim(column)), NA))) refuse("has a column that is a table")
            columns <- lapply(unclass(x), function(column) { names(column) <- NULL; write_value(column, depth + 1) })
            return(list(t = unbox("frame"), n = I(c(character(0), write_names(x))), v = unname(columns),
                        rows = I(c(character(0), rows)),
                        count = unbox(as.numeric(nrow(x)))))
        }
        if (!is.null(dim(x))) refuse("is a matrix or an array, which cannot be copied; copy as.data.frame() of it")
        if (is.factor(x)) return(kind("factor", write_texts(x), levels = I(write_texts(levels(x))),
                                      ordered = unbox(is.ordered(x))))
        if (inherits(x, "Date")) return(kind("Date", format(structure(unclass(x), class = "Date"), "%Y-%m-%d")))
        if (inherits(x, "POSIXct")) {
            # Without a zone it is shown in that of the machine; Sys.timezone() may run a program to find it.
            zone <- c(attr(x, "tzone"), "")[1]
            return(kind("POSIXct", hexadecimal(as.numeric(x)), zone = unbox(if (zone == "") "UTC" else zone)))
        }
        if (is.object(x)) refuse("is of the class ", class(x)[1], ", which cannot be copied; copy unclass() of it")
        switch(typeof(x),
            logical = kind("logical", c("F", "T")[x + 1L]),
            integer = kind("integer", ifelse(is.na(x), NA_character_, sprintf("%d", x))),
            double = kind("double", hexadecimal(x)),
            character = kind("character", write_texts(x)),
            raw = kind("raw", as.character(x)),
            list = kind("list", each(x)),
            refuse("is of the type ", typeof(x), ", which cannot be copied"))
    }

    text_of <- function(node) vapply(node[["v"]], function(one) if (is.null(one)) NA_character_ else one, "")
    read_value <- function(node) {
        x <- switch(node[["t"]],
            null = NULL,
            logical = text_of(node) == "T",
            integer = as.integer(text_of(node)),
            double = as.double(text_of(node)),
            character = text_of(node),
            raw = as.raw(strtoi(text_of(node), 16L)),
            Date = as.Date(text_of(node), format = "%Y-%m-%d"),
            POSIXct = structure(as.double(text_of(node)), class = c("POSIXct", "POSIXt"), tzone = node[["zone"]]),
            factor = factor(text_of(node), levels = unlist(node[["levels"]]), ordered = node[["ordered"]]),
            list = lapply(node[["v"]], read_value),
            frame = structure(lapply(node[["v"]], read_value), class = "data.frame",
                              row.names = if (length(node[["rows"]])) unlist(node[["rows"]])
                                          else .set_row_names(node[["count"]])),
            refuse("has a format that is not known there"))
        if (isTRUE(node[["named"]]) || node[["t"]] == "frame") {
            names(x) <- if (length(node[["n"]])) unlist(node[["n"]]) else character(0)
        }
        x
    }

    put <- function(asked) {
        values <- lapply(asked[["values"]], read_value)
        names <- unlist(asked[["names"]])
        replaced <- vapply(names, exists, NA, envir = globalenv(), inherits = FALSE)
        for (name in names[replaced]) {
            if (bindingIsLocked(name, globalenv()) || bindingIsActive(name, globalenv())) {
                refuse(name, " cannot be set, since it is locked or active")
            }
        }
        if (environmentIsLocked(globalenv()) && !all(replaced)) refuse("no variable can be added")
        suspendInterrupts(for (i in seq_along(names)) assign(names[i], values[[i]], envir = globalenv()))
        list(replaced = as.list(unname(replaced)))
    }
    get_all <- function(asked) {
        values <- lapply(unlist(asked[["names"]]), function(name) {
            if (!exists(name, envir = globalenv(), inherits = FALSE)) refuse(name, " does not exist")
            tryCatch(write_value(get(name, envir = globalenv(), inherits = FALSE)),
                     refused = function(e) refuse(name, " ", conditionMessage(e)))
        })
        list(values = values)
    }
    answer <- '{"problem": "the package jsonlite is not installed; run install.packages(\\"jsonlite\\") there"}'
    if (!is.null(kernel) && requireNamespace("jsonlite", quietly = TRUE)) {
        unbox <- jsonlite::unbox
        json <- function(x) jsonlite::toJSON(x, auto_unbox = TRUE, null = "null", na = "null", digits = NA)
        answer <- suppressWarnings(tryCatch({
            asked <- jsonlite::fromJSON(kernel$current_request$content$user_expressions$kernel_bridge,
                                        simplifyVector = FALSE)
            found <- json(if (asked[["put"]]) put(asked) else get_all(asked))
            if (nchar(found, "bytes") > asked[["most"]]) json(list(size = nchar(found, "bytes"))) else found
        },
        refused = function(e) json(list(problem = conditionMessage(e))),
        error = function(e) json(list(problem = "R could not do it")),
        interrupt = function(e) json(list(problem = "it was interrupted"))))
    }
    # A NULL here is no IRkernel; then there is no answer.
    if (!is.null(kernel)) {
        kernel$payload <- list(list(source = "kernel_bridge", data = list("text/plain" = as.character(answer))))
    }
    invisible(NULL)
}), base::new.env(parent = base::baseenv()))
